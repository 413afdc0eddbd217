"""The systemd unit of the agent: a user of its own, and no more of the system than it needs."""

import os
import sys
import warnings

from edgeward.errors import PassedOver

HIDDEN = ("/home/", "/root/", "/run/user/")  # by ProtectHome=

UNIT = """\
# Written by `edgeward agent --systemd`, for /etc/systemd/system/edgeward-agent.service. Then:
#   useradd --system edgeward && systemctl enable --now edgeward-agent
[Unit]
Description=Edgeward agent
After=local-fs.target network.target

[Service]
Type=notify
ExecStart={python} -m edgeward agent
Restart=always
RestartSec=1
WatchdogSec=30
KillMode=mixed
TimeoutStopSec=30
User=edgeward
StateDirectory=edgeward
RuntimeDirectory=edgeward
# Which engines work here: without it, each worker's start tries its engine first.
CacheDirectory=edgeward
Environment=XDG_CACHE_HOME=/var/cache/edgeward
WorkingDirectory=/var/lib/edgeward
Environment=EDGEWARD_AGENT_STATE=/var/lib/edgeward/agent
UMask=0077
# The device's key, where encrypted packages are: /etc/credstore/edgeward-device.key, of root, mode
# 0600. With LoadCredentialEncrypted= instead, it is bound to the machine's TPM.
LoadCredential=edgeward-device.key

# Of each worker: as large as the largest encrypted model, so that it is not swapped.
LimitMEMLOCK=1G
LimitNOFILE=16384
TasksMax=4096
# MemoryMax= is for you to say: what the models take, and a tenth. A worker that the kernel ends
# then is started again; the agent and its other models go on.
OOMPolicy=continue

# System V segments are the host's, so that PrivateIPC= stays off.
AmbientCapabilities=
CapabilityBoundingSet=
KeyringMode=private
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=no
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@resources @privileged

[Install]
WantedBy=multi-user.target
"""


def unit() -> str:
    """The unit's text, for the Python that runs this. Warns of one that it hides."""
    for path in dict.fromkeys((sys.executable, os.path.realpath(sys.executable))):
        if path.startswith(HIDDEN):
            message = (
                f"agent --systemd: expected a Python that the service sees, got {path}, which "
                "ProtectHome=yes hides: install into an environment such as /opt/edgeward"
            )
            warnings.warn(message, PassedOver, stacklevel=2)
    return UNIT.format(python=sys.executable)
