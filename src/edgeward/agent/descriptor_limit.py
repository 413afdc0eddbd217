"""How many descriptors the agent may have open: as many as the system lets it."""

import logging
import resource

from edgeward.agent.configuration import Configuration

log = logging.getLogger(__name__)

OF_CONNECTION = 3  # its client's end, and the two between the relay and the server
OF_ALL_ELSE = 256  # files, and models with their workers


def raise_for(settings: Configuration) -> None:
    """Raises this process's limit as far as it may, and logs when that is less than it may need."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lists = (settings.users, settings.groups, settings.admin_users, settings.admin_groups)
    users = 1 + sum(map(len, lists))  # a group is one at least
    needed = OF_ALL_ELSE + OF_CONNECTION * settings.most_connections * users
    if most < needed:
        reason = f"{settings.most_connections} connections of each of {users} users"
        log.warning("descriptors: expected %d for %s, got %d: raise LimitNOFILE= or ulimit -Hn",
                    needed, reason, most)  # fmt: skip
