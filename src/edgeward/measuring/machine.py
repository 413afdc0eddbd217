"""What a machine is, and how it is while something is measured: as its kernel tells, and no more.

Whatever cannot be read is None or empty. `root` is a directory in which /proc, /sys and /etc are
looked for; tests give trees of other machines.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import numpy as np

from edgeward._core import libcrypto_version
from edgeward.engines import memory_budget, processors
from edgeward.engines.text import text_of

# By "CPU part" of /proc/cpuinfo, where "CPU implementer" is ARM's own, 0x41.
ARM_PARTS = {
    0xC07: "Cortex-A7", 0xC08: "Cortex-A8", 0xC09: "Cortex-A9", 0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57",
    0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710",
    0xD49: "Neoverse-N2",
}  # fmt: skip
ARM = 0x41
VIRTUAL_VENDORS = (
    "qemu", "vmware", "xen", "innotek", "virtualbox", "parallels", "bochs", "kvm", "amazon ec2",
    "google compute", "microsoft corporation virtual", "openstack", "virtual machine",
)  # fmt: skip
THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
THROTTLED_BITS = {
    0: "under-voltage now", 1: "frequency capped now", 2: "throttled now",
    3: "soft temperature limit now", 16: "under-voltage since boot",
    17: "frequency capped since boot", 18: "throttled since boot",
    19: "soft temperature limit since boot",
}  # fmt: skip
CPUS = "/sys/devices/system/cpu"
STEAL_FIELD = 8  # of the line "cpu" in /proc/stat
REAL, VIRTUAL, EMULATED = "machine", "virtual machine", "emulator"


class Core(TypedDict):
    """Cores that are alike."""

    count: int
    name: str
    capacity: int | None  # 1024 for the fastest kind
    max_mhz: float | None


class Machine(TypedDict):
    """What stays the same from boot to boot."""

    board: str | None
    kind: str  # REAL, VIRTUAL or EMULATED
    kind_reason: str
    cpu: str
    architecture: str
    cores: list[Core]
    usable_cpus: int
    cpu_quota: float | None  # processors that a cgroup allows
    memory_bytes: int
    memory_limit_bytes: int | None  # of a cgroup
    swap_bytes: int | None
    page_bytes: int
    system: str
    kernel: str
    libc: str
    python: str
    numpy: str
    libcrypto: str


class Conditions(TypedDict):
    """What changes from moment to moment."""

    governors: list[str]
    frequencies_mhz: list[float]  # of each core that tells
    temperatures_c: dict[str, float]  # by sensor
    throttled: list[str] | None  # what a Raspberry Pi's firmware reports
    throttle_count: int | None  # of all cores of an x86, since boot
    load_average: float | None
    stolen_s: float | None  # of processors, since boot, by other guests of the host


def machine(root: str = "") -> Machine:
    kind, reason = kind_of(root)
    groups = text_of(f"{root}/proc/self/cgroup")
    return {
        "board": board(root),
        "kind": kind,
        "kind_reason": reason,
        "cpu": cpu_model(root),
        "architecture": platform.machine(),
        "cores": cores(root),
        "usable_cpus": processors.usable_cpus(),
        "cpu_quota": _cpu_quota(root, groups),
        "memory_bytes": memory_budget.board_bytes(),
        "memory_limit_bytes": memory_budget.limit_bytes(),
        "swap_bytes": _swap_bytes(text_of(f"{root}/proc/meminfo")),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "system": _system(text_of(f"{root}/etc/os-release")),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "numpy": np.__version__,
        "libcrypto": libcrypto_version(),
    }


def conditions(root: str = "") -> Conditions:
    load = text_of(f"{root}/proc/loadavg").split()
    return {
        "governors": sorted(set(_of_cores(root, "cpufreq/scaling_governor"))),
        "frequencies_mhz": [int(k) / 1000 for k in _of_cores(root, "cpufreq/scaling_cur_freq")],
        "temperatures_c": dict(_temperatures(root)),
        "throttled": throttled(text_of(f"{root}{THROTTLED}")),
        "throttle_count": _throttle_count(root),
        "load_average": float(load[0]) if load else None,
        "stolen_s": _stolen_s(text_of(f"{root}/proc/stat")),
    }


def cpu_model(root: str = "") -> str:
    """The processor's kinds of cores by name; its architecture where the kernel does not tell."""
    names = dict.fromkeys(core["name"] for core in cores(root))
    return ", ".join(names) or platform.machine()


def board(root: str = "") -> str | None:
    """The board's model, as its device tree or its firmware has it."""
    model = text_of(f"{root}/proc/device-tree/model").rstrip("\0\n")
    if model:
        return model
    names = (_dmi(root, name) for name in ("sys_vendor", "product_name"))
    return " ".join(name for name in names if name) or None


def kind_of(root: str = "") -> tuple[str, str]:
    """REAL, VIRTUAL or EMULATED, and what tells so."""
    emulator = _emulator(root)
    if emulator:
        return EMULATED, emulator
    if "hypervisor" in _fields(root).get("flags", "").split():
        return VIRTUAL, "the processor has the flag hypervisor"
    for path in ("/sys/hypervisor/type", "/proc/device-tree/hypervisor/compatible"):
        if hypervisor := text_of(f"{root}{path}").strip("\0\n "):
            return VIRTUAL, f"{path} is {hypervisor}"
    name = board(root) or ""
    if "dummy-virt" in name or any(vendor in name.lower() for vendor in VIRTUAL_VENDORS):
        return VIRTUAL, f"the board calls itself {name}"
    return REAL, "nothing tells of a virtual machine or an emulator"


def _emulator(root: str) -> str:
    """What tells that instructions are translated; empty where nothing does.

    qemu-user answers for /proc/self, and leaves /proc/thread-self as the host has it.
    """
    with suppress(OSError):
        program = os.path.basename(os.readlink(f"{root}/proc/thread-self/exe"))
        if program.startswith("qemu-"):
            return f"{program} runs this program"
    fields = _fields(root)
    if "TCG" in fields.get("model name", ""):
        return f"the processor calls itself {fields['model name']}"
    if _number(fields.get("CPU implementer", "")) == 0:
        return "the processor has no implementer, as QEMU's own"
    return ""


def cores(root: str = "") -> list[Core]:
    """The kinds of cores, the first core's kind first."""
    kinds: dict[tuple[str, int | None, float | None], int] = {}
    for block in text_of(f"{root}/proc/cpuinfo").split("\n\n"):
        fields = _parsed(block)
        number = fields.get("processor", "")
        if not number.isdecimal():
            continue
        at = f"{root}{CPUS}/cpu{number}"
        capacity = text_of(f"{at}/cpu_capacity").strip()
        max_khz = text_of(f"{at}/cpufreq/cpuinfo_max_freq").strip()
        kind = (
            _core_name(fields),
            int(capacity) if capacity.isdecimal() else None,
            int(max_khz) / 1000 if max_khz.isdecimal() else None,
        )
        kinds[kind] = kinds.get(kind, 0) + 1
    return [
        {"count": count, "name": name, "capacity": capacity, "max_mhz": max_mhz}
        for (name, capacity, max_mhz), count in kinds.items()
    ]


def throttled(text: str) -> list[str] | None:
    """What the bits of get_throttled say; None for a text that is no such number."""
    if not re.fullmatch(r"\s*(0x)?[0-9a-fA-F]{1,8}\s*", text):
        return None
    bits = int(text, 16)
    return [words for bit, words in THROTTLED_BITS.items() if bits >> bit & 1]


def _core_name(fields: Mapping[str, str]) -> str:
    for name in ("model name", "uarch", "Processor"):
        if name in fields:
            return fields[name]
    implementer, part = (_number(fields.get(f"CPU {word}", "")) for word in ("implementer", "part"))
    if implementer == ARM and part in ARM_PARTS:
        return ARM_PARTS[part]
    if part is not None and implementer is not None:
        return f"{platform.machine()}, implementer {implementer:#x}, part {part:#x}"
    return platform.machine()


def _number(text: str) -> int | None:
    with suppress(ValueError):
        return int(text, 0)
    return None


def _fields(root: str) -> dict[str, str]:
    return _parsed(text_of(f"{root}/proc/cpuinfo").split("\n\n", 1)[0])


def _parsed(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _dmi(root: str, name: str) -> str:
    return text_of(f"{root}/sys/class/dmi/id/{name}").strip()


def _system(os_release: str) -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', os_release, re.M)
    return match[1] if match else platform.system()


def _cpu_quota(root: str, groups: str) -> float | None:
    quotas = []
    for files in processors.quota_files(groups):
        words = " ".join(text_of(f"{root}{file}") for file in files).split()
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _swap_bytes(meminfo: str) -> int | None:
    match = re.search(r"^SwapTotal:\s+(\d+) kB", meminfo, re.M)
    return int(match[1]) * 1024 if match else None


def _of_cores(root: str, name: str) -> Iterator[str]:
    """The file of each core that has it, in the cores' order."""
    paths = Path(f"{root}{CPUS}").glob("cpu[0-9]*")
    for path in sorted(paths, key=lambda path: int(re.sub(r"\D", "", path.name))):
        if text := text_of(f"{path}/{name}").strip():
            yield text


def _temperatures(root: str) -> Iterator[tuple[str, float]]:
    for path in sorted(Path(f"{root}/sys/class/thermal").glob("thermal_zone*")):
        degrees = text_of(f"{path}/temp").strip()
        if re.fullmatch(r"-?\d+", degrees):
            sensor = text_of(f"{path}/type").strip() or "sensor"
            yield f"{sensor} ({path.name})", int(degrees) / 1000


def _throttle_count(root: str) -> int | None:
    counts = [int(n) for n in _of_cores(root, "thermal_throttle/core_throttle_count")]
    return sum(counts) if counts else None


def _stolen_s(stat: str) -> float | None:
    words = stat.split("\n", 1)[0].split()
    if len(words) <= STEAL_FIELD or words[0] != "cpu":
        return None
    return int(words[STEAL_FIELD]) / os.sysconf("SC_CLK_TCK")
