"""The rigs of a group, at the addresses that are listed or found: one link to each, made again when
it breaks.
"""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from garage_ai.node.group.errors import BadPeer, GroupError
from garage_ai.node.group.finding import Finder
from garage_ai.node.group.folder import GroupChoice, HostPort
from garage_ai.node.group.link import READ_LIMIT, Link, hang_up, shake
from garage_ai.node.group.messages import MAX_MEMBERS, Measured, Message
from garage_ai.wire.ids import NodeId

_log = structlog.get_logger(__name__)

DIAL_SECONDS: Final = 3.0
REDIAL_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 5.0
"""Between two tries to be heard at an address: a PC may get its own later than its agent starts."""

_MAX_STRANGERS: Final = 16
"""Connections at a time that have not yet shown that they are of the group."""

_MAX_OF_ONE: Final = 2
"""Of these from one address, which nobody else's are to wait for. Those from where a rig of the
group is to be are not counted among the strangers, so that none keeps a rig out."""


class Listener(Protocol):
    """Who wants to know of rigs."""

    def came(self, node: NodeId) -> None:
        """A link is there."""

    def measured(self, node: NodeId) -> None:
        """What lies between is known."""

    def went(self, node: NodeId) -> None:
        """It is no longer."""

    def heard(self, node: NodeId, message: Message) -> None:
        """A rig said something."""


class Rigs:
    """Listens for the others and dials them."""

    def __init__(self, me: NodeId, choice: GroupChoice, secret: bytes, listener: Listener) -> None:
        self._me = me
        self._choice = choice
        self._secret = secret
        self._listener = listener
        self._run = secrets.token_hex(8)
        self._links: dict[NodeId, Link] = {}
        self._strangers: Counter[str] = Counter()
        self._is_here = False
        self._known: dict[HostPort, NodeId] = {}
        self._dialled: set[HostPort] = set()
        self.trouble = ""
        """Why nobody can hear this rig now; empty while it is heard."""
        self.blind = ""
        """Why this rig finds nobody now that is not on its list; empty while it looks."""
        self.refused = ""
        """Why somebody who called was not taken for a rig of this group, the last time."""

    @property
    def links(self) -> tuple[Measured, ...]:
        """What was measured to each rig that is there."""
        found = [link.measured for _, link in sorted(self._links.items())]
        return tuple(each for each in found if each is not None)

    def send(self, node: NodeId, message: Message) -> None:
        """Tell a rig something; nothing happens when it is not there."""
        if node in self._links:
            self._links[node].send(message)

    def tell_all(self, message: Message) -> None:
        """Tell every rig something."""
        for link in list(self._links.values()):
            link.send(message)

    async def run(self) -> None:
        """Be there until cancelled; whatever goes wrong is told and begun anew."""
        while True:
            try:
                await self._be_there()
            except GroupError as error:
                _log.warning("group_unheard", detail=str(error))
                self.trouble = str(error)
            except Exception:
                _log.exception("group_broke")
            await _pause(AGAIN_SECONDS)

    async def _be_there(self) -> None:
        """Listen and dial until cancelled. Raises: GroupError when the address cannot be used."""
        host, port = self._choice.listen
        try:
            server = await asyncio.start_server(self._called, host, port, limit=READ_LIMIT)
        except OSError as error:
            raise GroupError(
                "The group cannot be heard on {host}:{port}: {error}. Give an address of this "
                "PC: gai group join --listen ADDRESS",
                host=host,
                port=port,
                error=error.strerror,
            ) from error
        self.trouble = ""
        self._is_here = True
        try:
            async with asyncio.TaskGroup() as group:
                # One list may be meant for all, with this rig's own address in it.
                for address in set(self._choice.peers) - {self._choice.listen}:
                    group.create_task(self._dial_while(address, lambda: True), name="group-dial")
                if self._choice.find:
                    group.create_task(self._find_for_ever(group), name="group-find")
                await asyncio.Event().wait()
        finally:
            self._is_here = False
            server.close()
            for link in list(self._links.values()):
                link.close()

    # --- making links

    async def _find_for_ever(self, group: asyncio.TaskGroup) -> None:
        finder = Finder(self._choice.listen, self._secret)

        def found(place: HostPort) -> None:
            self.blind = ""
            dial = self._dial_while(place, lambda: finder.knows(place))
            group.create_task(dial, name="group-dial")

        while True:
            try:
                await finder.run(found)
            except GroupError as error:
                _log.warning("group_blind", detail=str(error))
                self.blind = str(error)
            except Exception:  # those on the list are dialled all the same
                _log.exception("finding_broke")
            await _pause(AGAIN_SECONDS)

    async def _dial_while(self, address: HostPort, wanted: Callable[[], bool]) -> None:
        if address in self._dialled:
            return
        self._dialled.add(address)
        try:
            while wanted():
                try:
                    if self._known.get(address) not in self._links:
                        await self._dial(address)
                except Exception:  # one link's failure must not end the others
                    _log.exception("link_broke", host=address.host)
                await _pause(REDIAL_SECONDS)
        finally:
            self._dialled.discard(address)

    async def _dial(self, address: HostPort) -> None:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                streams = await asyncio.open_connection(*address, limit=READ_LIMIT)
        except OSError as error:
            _log.debug("rig_away", host=address.host, detail=str(error))
            return
        try:
            link = await shake(self._secret, "dialer", self._me, self._run, streams)
            self._known[address] = link.node
            await self._serve(link)
        except (BadPeer, OSError) as error:
            self._turned_away(error)
        finally:
            await hang_up(streams[1])

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str(writer.get_extra_info("peername", ("",))[0])
        if not self._may_knock(host):
            writer.close()
            return
        self._strangers[host] += 1
        try:
            link = await shake(self._secret, "acceptor", self._me, self._run, (reader, writer))
        except (BadPeer, OSError) as error:
            self._turned_away(error)
            await hang_up(writer)
            return
        finally:
            self._strangers -= Counter([host])
        try:
            await self._serve(link)
        finally:
            await hang_up(writer)

    def _may_knock(self, host: str) -> bool:
        ours = {place.host for place in (*self._choice.peers, *self._dialled)}
        others = sum(self._strangers[each] for each in self._strangers if each not in ours)
        full = host not in ours and others >= _MAX_STRANGERS
        return self._strangers[host] < _MAX_OF_ONE and not full

    def _turned_away(self, error: Exception) -> None:
        self.refused = str(error)[:200] if isinstance(error, BadPeer) else self.refused
        _log.info("rig_turned_away", detail=str(error)[:200])

    # --- links

    async def _serve(self, link: Link) -> None:
        if not self._admit(link):
            return
        try:
            await link.run(partial(self._heard, link), partial(self._measured, link))
        except* (BadPeer, OSError) as errors:
            _log.info("rig_lost", rig=link.node, detail=str(errors.exceptions[0])[:200])
        finally:
            self._let_go(link)

    def _admit(self, link: Link) -> bool:
        """Choose one link to each rig: of two, both sides keep what the lesser id has dialled."""
        if not self._is_here:
            # It called while this rig went: nobody would ever let go of it.
            return False
        before = self._links.get(link.node)
        if before is None and len(self._links) >= MAX_MEMBERS - 1:
            _log.warning("group_full", rig=link.node)
            return False
        if before is not None:
            same_run = before.peer_run == link.peer_run
            if same_run and self._rightful(before) >= self._rightful(link):
                return False
            self._let_go(before)
            before.close()
        self._links[link.node] = link
        _log.info("rig_there", rig=link.node)
        self._listener.came(link.node)
        return True

    def _rightful(self, link: Link) -> bool:
        return link.dialer == (self._me < link.node)

    def _let_go(self, link: Link) -> None:
        if self._links.get(link.node) is link:
            del self._links[link.node]
            self._listener.went(link.node)

    def _heard(self, link: Link, message: Message) -> None:
        if self._links.get(link.node) is link:
            self._listener.heard(link.node, message)

    def _measured(self, link: Link) -> None:
        if self._links.get(link.node) is link:
            self._listener.measured(link.node)


async def _pause(seconds: float) -> None:
    """Wait so long at most, half of it by chance."""
    chance = random.random()  # noqa: S311 - jitter
    await asyncio.sleep(seconds * (0.5 + chance / 2))


__all__ = ["AGAIN_SECONDS", "DIAL_SECONDS", "REDIAL_SECONDS", "Listener", "Rigs"]
