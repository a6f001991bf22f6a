"""From a container to the command that runs it: pure, one golden file for each kind of host.

What protects the owner is said, not left to a default: containers.conf and the daemon's own
settings may be anything. Nothing here ever widens: no `--privileged`, no `unconfined`, no host
namespace; the profile of system calls is the runtime's own or a narrower one. SELinux alone is let
go of, where it is: a container's domain may not open the owner's files, sockets or cards.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from garage_ai.node.errors import NotPossible
from garage_ai.node.sandbox.spec import CACHE, USER, ContainerSpec, Mount, Runtime

TMP: Final = "/tmp"  # noqa: S108 - inside the container
SHM: Final = "/dev/shm"  # noqa: S108 - inside the container
_TASKS: Final = 4096
_QUIET: Final = (
    ("HOME", TMP),
    ("USER", "engine"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("HF_HUB_OFFLINE", "1"),
    ("VLLM_NO_USAGE_STATS", "1"),
    ("DO_NOT_TRACK", "1"),
)
"""Nothing is fetched and nothing is reported, even where a network would be."""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")


def run_argv(spec: ContainerSpec, runtime: Runtime) -> tuple[str, ...]:
    """Make the command that runs a container attached, its stdin held open by whoever starts it.

    Raises: NotPossible for a path that no `--mount` can say.
    """
    return tuple(_words(spec, runtime))


def program(runtime: Runtime) -> list[str]:
    """Begin any command of a runtime."""
    if runtime.oci is None or runtime.program == "docker":
        return [runtime.program]
    return [runtime.program, "--runtime", runtime.oci]


def ulimits(runtime: Runtime, files: int) -> list[str]:
    """Limit open files, processes and core dumps, within what this process may ask for itself."""
    files, tasks = min(files, runtime.files), min(_TASKS, runtime.tasks)
    return [
        f"--ulimit=nofile={files}:{files}",
        f"--ulimit=nproc={tasks}:{tasks}",
        "--ulimit=core=0:0",
    ]


def _words(spec: ContainerSpec, runtime: Runtime) -> Iterator[str]:
    yield from program(runtime)
    yield from ("run", "--rm", "--interactive", f"--name={spec.name}", "--pull=never")
    yield from _fence(spec, runtime)
    yield from _limits(spec, runtime)
    yield from (f"--mount={_mount(each)}" for each in spec.mounts)
    yield from _devices(spec, runtime)
    yield from (f"--env={name}={value}" for name, value in _environment(spec, runtime).items())
    yield from (f"--label={name}={value}" for name, value in spec.labels)
    # The image's own entry point does not stand between us and our command.
    yield from (f"--entrypoint={spec.command[0]}", spec.image, *spec.command[1:])


def _fence(spec: ContainerSpec, runtime: Runtime) -> Iterator[str]:
    podman = runtime.program == "podman"
    yield "--network=none" if spec.network is None else f"--network=ns:{_said(spec.network)}"
    yield "--read-only"
    if podman:
        # Its writable /run, /var/tmp and /tmp of any size go; /tmp comes back below, with a size.
        yield from ("--read-only-tmpfs=false", "--http-proxy=false", "--env-host=false")
        yield "--no-hosts"
    yield "--cap-drop=all" if podman else "--cap-drop=ALL"
    yield "--security-opt=no-new-privileges" if podman else "--security-opt=no-new-privileges:true"
    if spec.seccomp is not None:
        yield f"--security-opt=seccomp={_said(spec.seccomp)}"
    if runtime.selinux:
        # NVIDIA's way too (cdi-support): relabelling the owner's files would outlast the engine.
        yield "--security-opt=label=disable"
    yield f"--user={USER}:{USER}"
    yield from ("--ipc=private", "--hostname=engine", "--workdir=/", "--log-driver=none")
    # An image's own check would be run beside the engine, for ever, and ask where nobody listens.
    yield "--no-healthcheck"


def _limits(spec: ContainerSpec, runtime: Runtime) -> Iterator[str]:
    limits = spec.limits

    def known(controller: str) -> bool:
        # On cgroup v2 a controller that is not delegated is an error; on v1 it is ignored.
        return runtime.cgroups == 1 or controller in runtime.controllers

    if known("memory"):
        yield from (f"--memory={limits.memory}", f"--memory-swap={limits.memory}")
    if known("pids"):
        yield f"--pids-limit={limits.pids}"
    if limits.cpus is not None and known("cpu"):
        yield f"--cpus={min(limits.cpus, runtime.cores or limits.cpus):g}"
    if runtime.program == "podman":
        # Its own, where it is to mount nothing writable, is read-only from 4.7 on (podman-run(1)).
        yield f"--tmpfs={SHM}:rw,noexec,nosuid,nodev,size={limits.shm},mode=1777"
    else:
        yield f"--shm-size={limits.shm}"
    yield f"--tmpfs={TMP}:rw,noexec,nosuid,nodev,size={limits.tmp},mode=1777"
    if limits.cache:
        yield f"--tmpfs={CACHE}:rw,exec,nosuid,nodev,size={limits.cache},mode=1777"
    yield from ulimits(runtime, limits.files)
    if limits.seconds is not None and runtime.program == "podman":
        yield f"--timeout={limits.seconds}"


def _mount(mount: Mount) -> str:
    return f"type=bind,src={_said(mount.source)},dst={_said(Path(mount.target))}" + (
        "" if mount.writable else ",readonly"
    )


def _said(path: Path) -> str:
    text = str(path)
    if not path.is_absolute() or any(sign in text for sign in ',"\n'):
        raise NotPossible(
            "A container cannot be given {text!r}: its name has a comma or a quote.",
            text=text,
        )
    return text


def _devices(spec: ContainerSpec, runtime: Runtime) -> Iterator[str]:
    if runtime.cdi:
        yield from (f"--device=nvidia.com/gpu={uuid}" for uuid in spec.gpus)
    elif spec.gpus:
        # The inner quotes are Docker's: a comma would else begin another option.
        yield f'--gpus="device={",".join(spec.gpus)}"'


def _environment(spec: ContainerSpec, runtime: Runtime) -> dict[str, str]:
    own = dict(_QUIET)
    if runtime.program == "docker":
        # ~/.docker/config.json may put proxies, with their passwords, into every container.
        for name in _PROXIES:
            own |= {name: "", name.lower(): ""}
    return own | dict(spec.environment)


__all__ = ["SHM", "TMP", "program", "run_argv", "ulimits"]
