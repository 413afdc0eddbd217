#include "engines/library.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "error.h"
#include "system/memory.h"

namespace edgeward {
namespace {

constexpr size_t kLeastIdBytes = 16;  // of a build id that is a digest or drawn at random

// What the dynamic section of a loaded library says of its relocations.
struct Relocations {
  const ElfW(Sym) * symbols = nullptr;
  const char* names = nullptr;
  const void* with_addend = nullptr;
  size_t with_addend_bytes = 0;
  const void* without_addend = nullptr;
  size_t without_addend_bytes = 0;
  // Of functions, which a loader may look up at their first call.
  const void* of_functions = nullptr;
  size_t of_functions_bytes = 0;
};

Relocations read_relocations(const link_map& map) {
  Relocations result;
  const auto pointer = [&](const ElfW(Dyn) & entry) {
    // Most loaders have made addresses of the offsets in the file; some leave them.
    const ElfW(Addr) value = entry.d_un.d_ptr;
    return std::bit_cast<const void*>(value < map.l_addr ? map.l_addr + value : value);
  };
  for (const ElfW(Dyn)* entry = map.l_ld; entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_SYMTAB: result.symbols = static_cast<const ElfW(Sym)*>(pointer(*entry)); break;
      case DT_STRTAB: result.names = static_cast<const char*>(pointer(*entry)); break;
      case DT_RELA: result.with_addend = pointer(*entry); break;
      case DT_RELASZ: result.with_addend_bytes = entry->d_un.d_val; break;
      case DT_REL: result.without_addend = pointer(*entry); break;
      case DT_RELSZ: result.without_addend_bytes = entry->d_un.d_val; break;
      case DT_JMPREL: result.of_functions = pointer(*entry); break;
      case DT_PLTRELSZ: result.of_functions_bytes = entry->d_un.d_val; break;
      default: break;
    }
  }
  return result;
}

// The place in which the library at `base` keeps the address of `name`; null when it has none.
template <class Relocation>
void** find_slot(ElfW(Addr) base, const Relocations& all, const void* table, size_t size_bytes, const char* name) {
  constexpr int kSymbolShift = sizeof(ElfW(Addr)) == 8 ? 32 : 8;
  if (table == nullptr || all.symbols == nullptr) return nullptr;
  const auto* relocation = static_cast<const Relocation*>(table);
  for (size_t i = 0; i < size_bytes / sizeof(Relocation); ++i) {
    const ElfW(Sym)& symbol = all.symbols[relocation[i].r_info >> kSymbolShift];
    if (std::strcmp(all.names + symbol.st_name, name) == 0) return std::bit_cast<void**>(base + relocation[i].r_offset);
  }
  return nullptr;
}

// The same for a function that the library calls. Its relocations are all of one kind, that of this processor.
void** find_function_slot(ElfW(Addr) base, const Relocations& all, const char* name) {
#if defined(__LP64__)
  using Relocation = ElfW(Rela);
#else
  using Relocation = ElfW(Rel);
#endif
  return find_slot<Relocation>(base, all, all.of_functions, all.of_functions_bytes, name);
}

// Of the library that is loaded at `base`.
std::vector<ElfW(Phdr)> segments(ElfW(Addr) base) {
  struct Search {
    ElfW(Addr) base;
    std::vector<ElfW(Phdr)> segments;
  } search{base, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* library, size_t, void* data) {
        auto& search = *static_cast<Search*>(data);
        if (library->dlpi_addr != search.base) return 0;
        search.segments.assign(library->dlpi_phdr, library->dlpi_phdr + library->dlpi_phnum);
        return 1;
      },
      &search);
  return search.segments;
}

// The build id among the notes of a segment; empty when there is none.
Bytes build_id_in(Bytes notes) {
  constexpr std::array kOwner{'G', 'N', 'U', '\0'};
  uint64_t offset = 0;
  while (contains(notes, offset, sizeof(ElfW(Nhdr)))) {
    const auto note = *try_read<ElfW(Nhdr)>(notes, offset);
    const uint64_t owner = offset + sizeof note;
    const uint64_t content = owner + round_up(note.n_namesz, 4);
    const uint64_t end = content + round_up(note.n_descsz, 4);
    if (!contains(notes, owner, end - owner)) break;
    const std::string_view name(reinterpret_cast<const char*>(notes.data()) + owner, note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID && std::ranges::equal(name, kOwner))
      return notes.subspan(content, note.n_descsz);
    offset = end;
  }
  return {};
}

// Whether a function has not been called yet, and will be looked up then: its slot leads back into the library.
bool is_unresolved(ElfW(Addr) base, const void* const* slot) {
  const auto address = reinterpret_cast<ElfW(Addr)>(*slot);
  const std::vector<ElfW(Phdr)> all = segments(base);
  return std::any_of(all.begin(), all.end(), [&](const ElfW(Phdr) & segment) {
    const ElfW(Addr) start = base + segment.p_vaddr;
    return segment.p_type == PT_LOAD && address >= start && address < start + segment.p_memsz;
  });
}

// Whether the loader has made the page of `slot` read-only after it had filled it.
bool is_sealed(ElfW(Addr) base, const void* slot) {
  const auto address = reinterpret_cast<ElfW(Addr)>(slot);
  const std::vector<ElfW(Phdr)> all = segments(base);
  return std::any_of(all.begin(), all.end(), [&](const ElfW(Phdr) & segment) {
    const ElfW(Addr) start = base + segment.p_vaddr;
    return segment.p_type == PT_GNU_RELRO && address >= start && address < start + segment.p_memsz;
  });
}

}  // namespace

Library::Library(std::string path) : path_(std::move(path)) {
  // Lazy: tflite-runtime's library also refers to symbols of Python, none of which the functions called here need.
  handle_ = dlopen(path_.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle_ == nullptr) throw Error(Code::engine_missing, "engine library \"", path_, "\": ", dlerror());
}

void* Library::try_address(const char* name) const { return dlsym(handle_, name); }

void* Library::address(const char* name) const {
  void* symbol = try_address(name);
  if (symbol == nullptr) {
    throw Error(Code::engine_mismatch, "engine library \"", path_, "\": expected the symbol ", name, ", got none");
  }
  return symbol;
}

std::vector<Bytes> Library::identity() const {
  link_map* map = nullptr;
  if (dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0) return {};
  std::vector<Bytes> code;
  for (const ElfW(Phdr) & segment : segments(map->l_addr)) {
    const Bytes bytes(std::bit_cast<const std::byte*>(map->l_addr + segment.p_vaddr), segment.p_filesz);
    if (segment.p_type == PT_NOTE) {
      if (const Bytes id = build_id_in(bytes); id.size() >= kLeastIdBytes) return {id};
    }
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_R) == 0 || (segment.p_flags & PF_W) != 0) continue;
    code.push_back(bytes);
  }
  return code;
}

bool Library::try_redirect(const char* name, const void* source, void* target) const {
  link_map* map = nullptr;
  if (dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0) return false;
  const Relocations all = read_relocations(*map);
  if (all.symbols == nullptr || all.names == nullptr) return false;
  void** slot = find_slot<ElfW(Rela)>(map->l_addr, all, all.with_addend, all.with_addend_bytes, name);
  if (slot == nullptr) {
    slot = find_slot<ElfW(Rel)>(map->l_addr, all, all.without_addend, all.without_addend_bytes, name);
  }
  if (slot == nullptr) slot = find_function_slot(map->l_addr, all, name);
  if (slot == nullptr || (*slot != source && !is_unresolved(map->l_addr, slot))) return false;
  void* page = std::bit_cast<void*>(reinterpret_cast<uintptr_t>(slot) / page_bytes() * page_bytes());
  const bool was_sealed = is_sealed(map->l_addr, slot);
  if (was_sealed && mprotect(page, page_bytes(), PROT_READ | PROT_WRITE) != 0) return false;
  *slot = target;
  if (was_sealed) (void)mprotect(page, page_bytes(), PROT_READ);
  return true;
}

Version parse_version(const std::string& text) {
  Version version;
  (void)std::sscanf(text.c_str(), "%9d.%9d", &version.major, &version.minor);
  return version;
}

void require_version(const std::string& package, const std::string& text, Version first, Version end) {
  const Version version = parse_version(text);
  if (version >= first && version < end) return;
  throw Error(Code::engine_mismatch, package, ": expected a version from ", first.major, ".", first.minor,
              " and below ", end.major, ".", end.minor, ", got ", text);
}

}  // namespace edgeward
