"""The supervisor: binds the sockets of an edge, starts its processes, and starts again those that end.

It handles no packet. It answers ``status`` on the control socket while signalling cannot.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import trio

from edgesbc.base import limits
from edgesbc.base.state_sockets import CONTROL_SOCKET
from edgesbc.base.version import VERSION
from edgesbc.control.lifecycle import EdgeStatus
from edgesbc.control.server import locked_folder, serve_control_on
from edgesbc.observe import logs
from edgesbc.policy.model import Policy
from edgesbc.processes.child_arguments import LogSettings
from edgesbc.processes.child_process import logged_containment
from edgesbc.processes.kept_process import KeptProcess
from edgesbc.processes.layout import Layout
from edgesbc.processes.succession import end_left, left_processes, open_lock, try_lock
from edgesbc.processes.supervisor_link import JsonLink, statuses
from edgesbc.processes.without_signalling import CommandsWithoutSignalling

__all__ = ["Supervisor"]


class Supervisor:
    """Runs the processes of one edge. ``log`` is how they log."""

    def __init__(self, policy: Policy, log: LogSettings) -> None:
        self._policy = policy
        self._log_settings = log
        self._log = logs.lifecycle("supervisor")
        self._containment = logged_containment("supervisor")
        self._began = time.monotonic()
        self._children: list[KeptProcess] = []
        self._http_port = 0
        self._relays: list[dict[str, Any]] = []
        """The rows of relay processes, which media control starts."""
        self._terminating = False
        self._reload_asked = False
        self._ending = trio.Event()
        self._code = 0
        self._changed = trio.Event()
        """Set, and replaced, whenever the state of a process changes."""

    async def run(self) -> int:
        """Run until signalling has drained. Returns the exit code.

        Raises ``OSError``, in an exception group, where the edge cannot start.
        """
        state_dir = self._policy.edge.state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked_folder(state_dir / CONTROL_SOCKET))
            lock = open_lock(state_dir)
            stack.callback(os.close, lock)
            left = await left_processes(state_dir, lock)
            layout = Layout(self._policy, left)
            if left:
                names = " ".join(one.name for one in left if one not in layout.not_needed)
                self._log.info("processes of an earlier run go on", processes=names)
                if layout.in_force != self._policy.text:
                    self._log.error("the policy file is not taken up: reload, or restart the edge")
            for one in layout.not_needed:
                await end_left(one)
            if len(layout.not_needed) == len(left):
                try_lock(lock)  # nobody has it any more
            self._policy = layout.policy
            self._children = list(layout.build(stack, lock, self._log_settings, self._log))
            control = stack.enter_context(socket.socket(fileno=os.dup(self._signalling.arguments.control)))
            async with trio.open_nursery() as nursery:
                await nursery.start(self._obey_signals)
                nursery.start_soon(self._containment.keep_running, "control", partial(self._answer, control, nursery))
                for child in self._children:
                    keep = partial(self._keep, child)
                    nursery.start_soon(self._containment.keep_running, f"process {child.name}", keep)
                    if child.has_spare:
                        keep = partial(self._keep_spare, child)
                        nursery.start_soon(self._containment.keep_running, f"spare process {child.name}", keep)
                await self._ending.wait()
                await self._end_all()
                nursery.cancel_scope.cancel()
        self._log.info("stopped")
        return self._code

    @property
    def _signalling(self) -> KeptProcess:
        return next(child for child in self._children if child.name == "signalling")

    # --- processes ---------------------------------------------------------------------------------------

    async def _keep(self, child: KeptProcess) -> None:
        """Run a process, again and again, until the edge ends."""
        pause = 0.0
        while True:
            began = time.monotonic()
            code = await self._run_once(child)
            if self._ending.is_set():
                return
            if child.name == "signalling" and (self._terminating or code == 0):
                self._end(max(code, 0) or int(code < 0))
                return
            if not child.was_ready:
                self._log.error("a process cannot start", process=child.name, code=code)
                self._end(code if code > 0 else 1)
                return
            if time.monotonic() - began > limits.RESTART_SECONDS_MOST:
                pause = 0.0
            pause = min(max(2 * pause, limits.RESTART_SECONDS_LEAST), limits.RESTART_SECONDS_MOST)
            child.restarts += 1
            self._log.error("a process has ended and is started again", process=child.name, code=code, pause=pause)
            with trio.move_on_after(pause):
                await self._ending.wait()
                return

    async def _run_once(self, child: KeptProcess) -> int:
        """Run a process until its end. Returns the exit code, or minus the number of a signal."""
        try:
            process, sock, waits = child.take()
        except OSError as error:
            self._log.error("a process cannot be started", process=child.name, error=str(error))
            return 1
        with closing(JsonLink(sock, partial(self._learn, child))) as link:
            child.process, child.link, child.code = process, link, None
            if waits:
                link.tell(go=True)
            self._enter(child, "starting")
            try:
                async with trio.open_nursery() as of_process:
                    of_process.start_soon(self._containment.keep_running, "process link", link.run)
                    code = await process.wait()
                    of_process.cancel_scope.deadline = (
                        trio.current_time() + limits.PROCESS_END_SECONDS
                    )  # its last words
            finally:
                child.process = child.link = None
                self._enter(child, "waiting")
        return code if child.code is None else child.code

    async def _keep_spare(self, child: KeptProcess) -> None:
        """Have a process wait that can take the place of ``child``, from when that has run for the first time."""
        while True:
            while child.spare is not None or child.state != "running":
                await self._changed.wait()
            spare = child.spare = child.start(spare=True)
            self._tell()
            try:
                while child.spare is spare and not spare[0].has_ended:
                    with trio.move_on_after(limits.RESTART_SECONDS_MOST):
                        await self._changed.wait()
            finally:
                if child.spare is spare:
                    child.spare = None
                    spare[1].close()
                    spare[0].discard()

    def _learn(self, child: KeptProcess, told: dict[str, Any]) -> None:
        if "relays" in told:
            self._learn_relays(told["relays"])
        child.code = told.get("code", child.code)
        if told.get("ready"):
            child.was_ready = True
            self._http_port = told.get("http_port", self._http_port)
            self._enter(child, "running")
            self._log.info("a process runs", process=child.name, pid=0 if child.process is None else child.process.pid)
            if child.name == "signalling" and self._reload_asked:
                self._reload()

    def _learn_relays(self, pids: list[int]) -> None:
        """Relay n of media control has the n-th of these process numbers; 0: it is being started again."""
        before, self._relays = self._relays, []
        for number, pid in enumerate(pids):
            row = before[number] if number < len(before) else None
            if row is None or row["pid"] != pid:
                restarts = 0 if row is None else row["restarts"] + (pid != 0)
                row = {
                    "name": f"relay {number + 1}", "pid": pid, "state": "running" if pid else "waiting",
                    "began": time.monotonic(), "restarts": restarts,
                }  # fmt: skip
            self._relays.append(row)
        self._tell()

    def _enter(self, child: KeptProcess, state: str) -> None:
        child.enter(state)
        if child.name == "media" and state == "waiting":
            for row in self._relays:  # they end with it
                row.update(pid=0, state="waiting", began=time.monotonic())
        self._tell()

    def _tell(self) -> None:
        """Tell the processes of each other."""
        for other in self._children:
            if other.link is not None:
                other.link.tell(processes=self._rows(), http_port=self._http_port)
        self._changed.set()
        self._changed = trio.Event()

    def _rows(self) -> list[dict[str, Any]]:
        own = {"name": "supervisor", "pid": os.getpid(), "state": "running", "began": self._began, "restarts": 0}
        spares = [
            {**child.row, "name": f"{child.name} spare", "pid": child.spare[0].pid, "state": "spare", "restarts": 0}
            for child in self._children
            if child.spare is not None
        ]
        return [own, *(child.row for child in self._children), *spares, *self._relays]

    # --- the end -----------------------------------------------------------------------------------------

    def _end(self, code: int) -> None:
        if not self._ending.is_set():
            self._code = code
            self._ending.set()

    async def _end_all(self) -> None:
        """End every process: by an order, and by SIGKILL where that does not help."""
        for child in self._children:
            if child.link is not None:
                child.link.tell(order="end")
        with trio.move_on_after(limits.PROCESS_END_SECONDS):
            await self._all_ended()
        for child in self._children:
            if child.process is not None:
                child.process.signal(signal.SIGKILL)
        await self._all_ended()

    async def _all_ended(self) -> None:
        while any(child.process is not None for child in self._children):
            await self._changed.wait()

    # --- signals -----------------------------------------------------------------------------------------

    async def _obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                if number == signal.SIGHUP:
                    self._reload()
                else:
                    self._terminate()

    def _reload(self) -> None:
        """Have signalling read the policy file, at the latest when it runs again."""
        link = self._signalling.link
        self._reload_asked = self._signalling.state != "running" or link is None
        if link is not None and not self._reload_asked:
            link.tell(order="reload")

    def _terminate(self) -> None:
        """Have signalling drain; the second time, end at once, as it does then."""
        link = self._signalling.link
        if link is None:
            self._end(int(self._terminating))
        else:
            link.tell(order="drain")
        self._terminating = True

    # --- the control socket ------------------------------------------------------------------------------

    async def _answer(self, control: socket.socket, nursery: trio.Nursery) -> None:
        """Answer on the control socket whenever signalling does not. What came before waits in its backlog."""
        while True:
            while self._signalling.state == "running":
                await self._changed.wait()
            with trio.CancelScope() as answering:
                cancel = partial(self._cancel_when_running, answering)
                nursery.start_soon(self._containment.keep_running, "control", cancel)
                await serve_control_on(
                    control, CommandsWithoutSignalling(self._status, self._drain), self._containment, nursery
                )

    async def _cancel_when_running(self, answering: trio.CancelScope) -> None:
        while self._signalling.state != "running":
            await self._changed.wait()
        answering.cancel()

    def _drain(self) -> dict[str, Any]:
        self._terminate()
        return {"calls": 0, "grace": 0.0}

    def _status(self) -> EdgeStatus:
        policy, processes = self._policy, statuses(self._rows())
        for process in processes:
            if process["name"] == "signalling" and process["state"] == "running":
                process["state"] = "starting"  # it runs, and answers the next question itself
        return {
            "name": policy.edge.name,
            "version": VERSION,
            "policy_file": policy.file,
            "policy_version": 0,
            "change": None,
            "listeners": [],
            "http_port": self._http_port,
            "calls": 0,
            "adopted_calls": 0,
            "draining": self._terminating,
            "not_ready": {"signalling": "is being started"},
            "processes": processes,
        }
