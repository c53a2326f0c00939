"""What ``edgesbc run`` does: an edge, in one process or in several, until a signal or ``edgesbc drain`` ends it."""

from __future__ import annotations

import os
import resource
import sys

import attrs

from edgesbc.embedding import serve
from edgesbc.observe import logs
from edgesbc.policy.model import Policy
from edgesbc.policy.preflight import descriptors_needed
from edgesbc.processes.child_arguments import LogSettings
from edgesbc.processes.supervisor import Supervisor
from edgesbc.processes.until_drained import raise_descriptor_limit, run_until_signal
from edgesbc.tasks.process_name import name_process

__all__ = ["LogSettings", "raise_descriptor_limit", "serve_until_signal"]


async def serve_until_signal(policy: Policy, log: LogSettings | None = None) -> None:
    """Serve until the edge has drained. Ends the program with exit code 1 if a second signal ended it early.

    ``log`` are the settings of the log for further processes. Raises ``OSError``, in an exception group, where the edge
    cannot start.
    """
    needed, most = descriptors_needed(policy), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most != resource.RLIM_INFINITY and most < needed:
        logs.lifecycle("edge").info("few descriptors: raise RLIMIT_NOFILE", needed=needed, found=most)
    if policy.edge.planes == "processes" and not _has_pidfd():
        logs.lifecycle("edge").error("one process: several need Linux 5.3", planes="tasks")
        policy = attrs.evolve(policy, edge=attrs.evolve(policy.edge, planes="tasks"))
    if policy.edge.planes == "processes":
        name_process("edgesbc: supervisor")
        code = await Supervisor(policy, log or LogSettings()).run()
    else:
        code = int(await run_until_signal(lambda nursery: serve(policy, nursery=nursery)))
    if code:
        sys.exit(code)  # here and not in a task, where a nursery would make a group of it, with a traceback


def _has_pidfd() -> bool:
    """Whether the kernel can tell a process that another one has ended (pidfd_open(2))."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
