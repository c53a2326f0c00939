"""Which processes an edge consists of, and what they inherit: new sockets, or those of an earlier supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs

from edgesbc.app import attach_kernel_relay, media_settings_of
from edgesbc.base.errors import PolicyErrors
from edgesbc.base.log import Log
from edgesbc.base.state_sockets import CONTROL_SOCKET, MEDIA_CONTROL_SOCKET, MEDIA_SOCKET
from edgesbc.base.version import VERSION
from edgesbc.control.server import listening_control_socket
from edgesbc.media.plane_settings import MediaPlaneSettings
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import Policy
from edgesbc.processes.child_arguments import ChildArguments, LogSettings
from edgesbc.processes.kept_process import KeptProcess
from edgesbc.processes.packet_link import bind_link
from edgesbc.processes.policy_memory import create_memory, stored_text
from edgesbc.processes.succession import LeftProcess
from edgesbc.transport.sockets import open_listeners

__all__ = ["Layout"]


class Layout:
    """The processes of an edge with ``policy``.

    Of the processes that are ``left``, those go on that do what ``policy`` says; the others are :attr:`not_needed`.
    Where signalling is left, the policy that it was started with takes the place of ``policy``, since its sockets are
    those of that one.
    """

    def __init__(self, policy: Policy, left: Iterable[LeftProcess]) -> None:
        own = {one.name: one for one in left if one.version == VERSION}
        self.policy = policy
        self.in_force = policy.text
        """The text of the policy that signalling goes on with."""
        self._left: dict[str, LeftProcess] = {}
        signalling = own.get("signalling")
        if signalling is not None:
            try:
                self.policy = parse_policy(stored_text(signalling.arguments.started_with) or "", policy.file)
                self._left["signalling"] = signalling
                self.in_force = stored_text(signalling.arguments.in_force) or self.policy.text
            except PolicyErrors:  # a file that it names is gone
                pass
        media, observe = own.get("media"), own.get("observe")
        if media is not None and media.arguments.media_settings == self._media_settings:
            self._left["media"] = media
        if observe is not None and observe.arguments.http == str(self.policy.observe.http or ""):
            self._left["observe"] = observe
        self.not_needed = [one for one in left if one not in self._left.values()]

    @property
    def _media_settings(self) -> MediaPlaneSettings | None:
        if self.policy.media.engine != "builtin":
            return None
        return media_settings_of(self.policy, relays=max(1, len(os.sched_getaffinity(0)) // 2))

    def build(self, stack: ExitStack, lock: int, log_settings: LogSettings, log: Log) -> Iterator[KeptProcess]:
        """The processes, with the sockets and memory that they inherit, which are closed with ``stack``.

        ``lock`` is the descriptor of the lock of the processes. Raises ``OSError``.
        """
        state_dir = self.policy.edge.state_dir
        for one in self._left.values():
            for descriptor in one.arguments.handed_on:
                stack.callback(os.close, descriptor)
            lock = one.arguments.lock
        common = ChildArguments(-1, log_settings, str(state_dir), lock=lock)
        settings = self._media_settings
        if settings is not None:
            arguments = self._of_left("media", log_settings) or self._for_media(stack, common, settings, log)
            stack.callback((state_dir / MEDIA_SOCKET).unlink, missing_ok=True)
            stack.callback((state_dir / MEDIA_CONTROL_SOCKET).unlink, missing_ok=True)
            yield self._kept("media", "media_control", arguments, has_spare=True)
        arguments = self._of_left("signalling", log_settings) or self._for_signalling(stack, common)
        stack.callback((state_dir / CONTROL_SOCKET).unlink, missing_ok=True)
        yield self._kept("signalling", "signalling", arguments, has_spare=True)
        if self.policy.observe.http is not None:
            arguments = attrs.evolve(common, http=str(self.policy.observe.http))
            yield self._kept("observe", "observing", arguments)

    def _kept(self, name: str, module: str, arguments: ChildArguments, has_spare: bool = False) -> KeptProcess:
        left = self._left.get(name)
        return KeptProcess(name, f"edgesbc.processes.{module}", arguments, has_spare=has_spare, left=left)

    def _of_left(self, name: str, log_settings: LogSettings) -> ChildArguments | None:
        """What a process was started with that is left: the next one in its place gets the same."""
        left = self._left.get(name)
        return None if left is None else attrs.evolve(left.arguments, log=log_settings, spare=False)

    def _for_media(
        self, stack: ExitStack, common: ChildArguments, settings: MediaPlaneSettings, log: Log
    ) -> ChildArguments:
        state_dir = Path(common.state_dir)
        kernel, reason = attach_kernel_relay(self.policy, settings)
        log.info("kernel relay", devices=0 if kernel is None else len(kernel.maps.devices), reason=reason)
        if kernel is not None:
            stack.callback(kernel.close)
        control = stack.enter_context(listening_control_socket(state_dir / MEDIA_CONTROL_SOCKET, lock=False))
        return attrs.evolve(
            common,
            media=stack.enter_context(bind_link(state_dir / MEDIA_SOCKET)).fileno(),
            control=control.fileno(),
            media_settings=settings,
            kernel=None if kernel is None else kernel.maps,
            kernel_links=() if kernel is None else kernel.links,
        )

    def _for_signalling(self, stack: ExitStack, common: ChildArguments) -> ChildArguments:
        policy = self.policy
        control = stack.enter_context(listening_control_socket(Path(common.state_dir) / CONTROL_SOCKET, lock=False))
        listeners = open_listeners(policy.listen)
        for opened in listeners:
            stack.callback(opened.close)
        started_with, in_force = create_memory(policy.text), create_memory(policy.text)
        for descriptor in (started_with, in_force):
            stack.callback(os.close, descriptor)
        return attrs.evolve(
            common,
            policy_file=policy.file,
            started_with=started_with,
            in_force=in_force,
            control=control.fileno(),
            listeners=tuple(
                (opened.sock.fileno(), -1 if opened.untrusted is None else opened.untrusted.fileno())
                for opened in listeners
            ),
        )
