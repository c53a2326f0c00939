"""The signalling process: the signalling plane, policy and rollout, and the commands of the control socket."""

from __future__ import annotations

import socket
import sys
from contextlib import AbstractAsyncContextManager

import trio

from edgesbc.app import App, Surroundings
from edgesbc.base.state_sockets import MEDIA_SOCKET
from edgesbc.embedding import RunningEdge, serve_app
from edgesbc.observe import logs
from edgesbc.policy.model import Policy
from edgesbc.processes.child_arguments import ChildArguments
from edgesbc.processes.child_process import child_main
from edgesbc.processes.media_link import MediaLink
from edgesbc.processes.policy_memory import restored_policy, store_text, stored_text
from edgesbc.processes.supervisor_link import SupervisorLink
from edgesbc.processes.until_drained import EdgeOrders, run_until_drained
from edgesbc.transport.sockets import OpenedListener, opened_listener

__all__ = ["run_signalling"]


async def run_signalling(arguments: ChildArguments, supervisor: SupervisorLink) -> int:
    """Run signalling until it has drained, or the supervisor ends it or is gone."""
    started_with = stored_text(arguments.started_with) or ""
    policy = restored_policy(started_with, stored_text(arguments.in_force), arguments.policy_file)
    app = _app(policy, arguments, supervisor)
    app.active.on_adopted = lambda adopted: store_text(arguments.in_force, adopted.text)
    orders = EdgeOrders()
    supervisor.on_order = orders.obey
    code = 0
    async with trio.open_nursery() as nursery:

        async def end_when_told() -> None:
            await supervisor.ended.wait()
            app.cancel()

        def serve(of_edge: trio.Nursery) -> AbstractAsyncContextManager[RunningEdge]:
            return serve_app(app, of_edge)

        nursery.start_soon(app.containment.keep_running, "supervisor link", supervisor.run)
        nursery.start_soon(app.containment.keep_running, "supervisor's end", end_when_told)
        app.on_started = lambda: supervisor.tell(ready=True)
        code = int(await run_until_drained(serve, orders))
        supervisor.tell(code=code)  # which a supervisor that has not started this process learns in no other way
        nursery.cancel_scope.cancel()
    return code


def _app(policy: Policy, arguments: ChildArguments, supervisor: SupervisorLink) -> App:
    media = None
    if policy.media.engine == "builtin":
        media = MediaLink(policy.edge.state_dir / MEDIA_SOCKET, logs.lifecycle("signalling"))
    control = socket.socket(fileno=arguments.control)
    return App(
        policy,
        Surroundings(_listeners(policy, arguments), control, media, supervisor.processes, lambda: supervisor.http_port),
    )


def _listeners(policy: Policy, arguments: ChildArguments) -> list[OpenedListener]:
    listeners = []
    for number, (settings, (first, second)) in enumerate(zip(policy.listen, arguments.listeners, strict=True)):
        untrusted = None if second < 0 else socket.socket(fileno=second)
        listeners.append(opened_listener(number, settings, socket.socket(fileno=first), untrusted))
    return listeners


if __name__ == "__main__":
    sys.exit(child_main("signalling", run_signalling, sys.argv))
