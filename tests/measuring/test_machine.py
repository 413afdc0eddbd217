"""Facts of machines, from trees as their kernels show them, and of this one."""

from __future__ import annotations

import json
import platform

import pytest

from edgeward.measuring import machine

PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": "\n\n".join(
        f"processor\t: {n}\nCPU implementer\t: 0x41\nCPU part\t: 0xd08" for n in range(4)
    ),
    "proc/meminfo": "MemTotal: 3884000 kB\nSwapTotal:        102396 kB\n",
    "proc/loadavg": "0.52 0.40 0.30 1/200 999\n",
    "proc/stat": "cpu  1 2 3 4 5 6 7 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\n",
    "etc/os-release": 'NAME="x"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    machine.THROTTLED[1:]: "50005\n",
    "sys/class/thermal/thermal_zone0/temp": "61835\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    **{
        f"sys/devices/system/cpu/cpu{n}/cpufreq/{name}": text
        for n in range(4)
        for name, text in (
            ("scaling_governor", "ondemand\n"),
            ("scaling_cur_freq", f"{600000 + 1000 * n}\n"),
            ("cpuinfo_max_freq", "1800000\n"),
        )
    },
}
BIG_LITTLE = {
    "proc/cpuinfo": "\n\n".join(
        f"processor\t: {n}\nCPU implementer\t: 0x41\nCPU part\t: {part}"
        for n, part in enumerate(["0xd05"] * 4 + ["0xd0b"] * 4)
    ),
    **{
        f"sys/devices/system/cpu/cpu{n}/cpu_capacity": "530\n" if n < 4 else "1024\n"
        for n in range(8)
    },
}


@pytest.fixture
def tree(tmp_path):
    def written(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path)

    return written


def test_a_raspberry_pi(tree):
    root = tree(PI)
    facts = machine.machine(root)
    assert facts["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts["kind"] == machine.REAL
    assert facts["cpu"] == "Cortex-A72"
    assert facts["cores"] == [
        {"count": 4, "name": "Cortex-A72", "capacity": None, "max_mhz": 1800.0}
    ]
    assert facts["swap_bytes"] == 102_396 * 1024
    assert facts["system"] == "Debian GNU/Linux 12 (bookworm)"
    assert machine.conditions(root) == {
        "governors": ["ondemand"],
        "frequencies_mhz": [600.0, 601.0, 602.0, 603.0],
        "temperatures_c": {"cpu-thermal (thermal_zone0)": 61.835},
        "throttled": [
            "under-voltage now",
            "throttled now",
            "under-voltage since boot",
            "throttled since boot",
        ],
        "throttle_count": None,
        "load_average": 0.52,
        "stolen_s": 0.0,
    }


def test_cores_of_two_kinds(tree):
    kinds = machine.cores(tree(BIG_LITTLE))
    assert [(kind["count"], kind["name"], kind["capacity"]) for kind in kinds] == [
        (4, "Cortex-A55", 530),
        (4, "Cortex-A76", 1024),
    ]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"proc/cpuinfo": "processor: 0\nflags: fpu sse hypervisor avx\n"}, machine.VIRTUAL),
        ({"proc/cpuinfo": "processor: 0\nflags: fpu sse avx\n"}, machine.REAL),
        ({"sys/hypervisor/type": "xen\n"}, machine.VIRTUAL),
        ({"proc/device-tree/model": "linux,dummy-virt\0"}, machine.VIRTUAL),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, machine.VIRTUAL),
        ({"sys/class/dmi/id/sys_vendor": "LENOVO\n"}, machine.REAL),
        ({"proc/cpuinfo": "model name: QEMU TCG CPU version 2.5+\n"}, machine.EMULATED),
        ({"proc/cpuinfo": "CPU implementer: 0x00\nCPU part: 0x051\n"}, machine.EMULATED),
        (PI, machine.REAL),
        ({}, machine.REAL),
    ],
)
def test_what_a_machine_is(tree, files, kind):
    assert machine.kind_of(tree(files))[0] == kind
    assert machine.kind_of(tree(files))[1]


def test_an_emulator_of_programs_is_seen(tmp_path):
    (tmp_path / "proc/thread-self").mkdir(parents=True)
    (tmp_path / "proc/thread-self/exe").symlink_to("/usr/bin/qemu-aarch64-static")
    assert machine.kind_of(str(tmp_path)) == (
        machine.EMULATED,
        "qemu-aarch64-static runs this program",
    )


def test_nothing_to_read_is_no_failure(tree):
    root = tree({})
    facts, now = machine.machine(root), machine.conditions(root)
    assert (facts["board"], facts["cores"], facts["swap_bytes"]) == (None, [], None)
    assert facts["cpu"] == platform.machine()
    assert now["load_average"] is None
    assert now["governors"] == []


@pytest.mark.parametrize("text", ["", "\n", "x", "-1", "0x", "1 2"])
def test_what_is_no_number_tells_of_no_throttling(text):
    assert machine.throttled(text) is None


def test_no_bit_is_no_throttling():
    assert machine.throttled("0\n") == []
    assert machine.throttled("0x8") == ["soft temperature limit now"]


def test_this_machine_is_plain_values():
    facts = machine.machine()
    assert json.loads(json.dumps(facts)) == facts
    assert sum(core["count"] for core in facts["cores"]) >= 1
    assert facts["memory_bytes"] > 1 << 26
    now = machine.conditions()
    assert json.loads(json.dumps(now)) == now
