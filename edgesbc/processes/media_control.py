"""The process of media control: the media plane, its link to signalling, and its metrics."""

from __future__ import annotations

import resource
import socket
import sys
from typing import TYPE_CHECKING, Any

import trio

from edgesbc.base import limits
from edgesbc.control.protocol import Commands
from edgesbc.control.server import serve_control_on
from edgesbc.media.plane import MediaPlane
from edgesbc.media.plane_settings import MediaPlaneSettings
from edgesbc.media.private_addresses import PrivateAddresses
from edgesbc.observe import logs
from edgesbc.processes.child_arguments import ChildArguments
from edgesbc.processes.child_process import child_main, logged_containment
from edgesbc.processes.confinement import confine
from edgesbc.processes.media_server import MediaServer
from edgesbc.processes.supervisor_link import SupervisorLink
from edgesbc.tasks.containment import Containment
from edgesbc.tasks.garbage import collect_young_garbage, stop_automatic_collections

if TYPE_CHECKING:
    from edgesbc.observe.metrics import Metrics

__all__ = ["run_media_control"]


async def run_media_control(arguments: ChildArguments, supervisor: SupervisorLink) -> int:
    """Run the media plane until the supervisor ends it, or is gone."""
    settings = arguments.media_settings
    if settings is None:
        raise ValueError("expected the settings of a media plane")
    log = logs.lifecycle("media")
    containment = logged_containment("media")
    private = PrivateAddresses()
    server = MediaServer(private, containment, log)
    plane = server.plane = settings.build(
        server.tell, containment, private.is_inside, _most_sections(), arguments.kernel
    )
    with (
        socket.socket(fileno=arguments.media) as listening,
        socket.socket(fileno=arguments.control) as control,
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(plane.run)
            commands = _commands(settings, plane, containment)
            confine(log)
            nursery.start_soon(containment.keep_running, "signalling links", lambda: server.run(listening, nursery))
            await nursery.start(serve_control_on, control, commands, containment, nursery)

            async def tell_of_relays() -> None:
                """Tell the supervisor which relay processes there are, so that it can show them."""
                told = plane.relay_pids
                while True:
                    if plane.relay_pids != told:
                        told = plane.relay_pids
                        supervisor.tell(relays=told)
                    await trio.sleep(limits.RELAYS_SHOWN_SECONDS)

            nursery.start_soon(containment.keep_running, "supervisor link", supervisor.run)
            nursery.start_soon(containment.keep_running, "relay processes", tell_of_relays)
            stop_automatic_collections()
            nursery.start_soon(containment.keep_running, "garbage", collect_young_garbage)
            supervisor.tell(relays=plane.relay_pids, ready=True)
            await supervisor.ended.wait()
            nursery.cancel_scope.cancel()
    return 0


def _most_sections() -> int | None:
    """Media sections that this process has descriptors for; None: any."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return None
    return max(0, descriptors - limits.DESCRIPTORS_OWN) // 4


def _commands(settings: MediaPlaneSettings, plane: MediaPlane, containment: Containment) -> Commands:
    """The commands of its control socket: ``metrics``."""
    made: list[Metrics] = []

    async def rows(_: Any) -> Any:
        if not made:
            # In a thread: to import what it needs takes longer than a call should wait.
            metrics = await trio.to_thread.run_sync(_metrics, settings, plane, containment)
            made.append(metrics)
        return made[0].rows()

    return {"metrics": rows}


def _metrics(settings: MediaPlaneSettings, plane: MediaPlane, containment: Containment) -> Metrics:
    # Imported when they are asked for: calls wait for this process when it is started again.
    from edgesbc.observe.instruments import instrument_faults, instrument_media
    from edgesbc.observe.metrics import Metrics

    metrics = Metrics(settings.max_series, process=False)
    instrument_media(
        metrics,
        lambda: plane.sessions,
        lambda: plane.ports_in_use,
        lambda: plane.paths,
        lambda: plane.counts,
        lambda: plane.moves,
        plane.quality,
    )
    instrument_faults(metrics, containment.faults, logs.records_lost)
    return metrics


if __name__ == "__main__":
    sys.exit(child_main("media", run_media_control, sys.argv))
