// What memory holds at the moment that its owner gives it back: a forked child does so, stopped by the kernel at the
// system call, and its parent looks.
#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "rigs/octets.h"

namespace edgeward {

// The bytes of the whole mapping that begins where `act` says, in a child, as munmap is asked to end it. `act` is given
// a function to say so with. Empty when it was not unmapped, or when `act` threw before.
template <class Act>
Octets bytes_when_unmapped(Act&& act) {
  constexpr size_t kPageBytes = 4096;
  constexpr unsigned kLimitS = 60;
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(page != MAP_FAILED);
  auto* watched = new (page) std::atomic<uintptr_t>(0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(kLimitS);
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    try {
      act([&](const void* begin) { *watched = reinterpret_cast<uintptr_t>(begin); });
      _exit(0);
    } catch (...) {
      _exit(2);
    }
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSTOPPED(status));
  REQUIRE(ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
  Octets bytes;
  int signal = 0;
  while (ptrace(PTRACE_SYSCALL, child, nullptr, signal) == 0 && waitpid(child, &status, 0) == child &&
         WIFSTOPPED(status)) {
    const bool is_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
    signal = is_call ? 0 : WSTOPSIG(status);
    __ptrace_syscall_info call{};
    if (!is_call || ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(call), &call) <= 0 ||
        call.op != PTRACE_SYSCALL_INFO_ENTRY || call.entry.nr != SYS_munmap || *watched == 0 ||
        call.entry.args[0] != *watched)
      continue;
    bytes.resize(call.entry.args[1]);
    const iovec here{bytes.data(), bytes.size()};
    const iovec there{reinterpret_cast<void*>(call.entry.args[0]), bytes.size()};
    REQUIRE(process_vm_readv(child, &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes.size()));
  }
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  munmap(page, kPageBytes);
  return bytes;
}

}  // namespace edgeward
