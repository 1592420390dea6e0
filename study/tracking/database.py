"""The store MLflow writes to: which one is meant, how it is brought up whole, and MLflow's own switches.

Nothing here imports mlflow until a database has to be made.
"""

import contextlib
import importlib.util
import os
import re
import sqlite3
import urllib.parse
from pathlib import Path

import filelock

from l3masking.errors import EnvironmentFault, InputError
from l3masking.whole import made_whole, sweep

DATABASE = "mlflow.db"
"""Name of the default store in the study folder."""
BUSY_SECONDS = 5.0
"""How long opening waits for a local database that somebody else has locked; MLflow's own writes wait 20 s, fixed."""
LIKE = "file:%/mlartifacts"
"""Artifact locations of studies."""
SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
"""Beginnings of the URI of a file: MLflow's own, and the one that names the driver."""
SCHEMES = (*SQLITE, "postgresql", "mysql", "mssql", "http://", "https://")
DRIVERS = {"postgresql": "psycopg", "mysql": "MySQLdb", "mssql": "pyodbc"}
"""Module that SQLAlchemy 2.1 reaches a database by, where the URI names none (postgresql+psycopg2://)."""
DRIVER_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""What installs a module that is called otherwise."""
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # the mirror says in one line what MLflow says in a traceback
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # else two lines per finished run, with a server
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # default 7: four minutes per call while a server is away
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def resolve_uri(folder: Path, uri: str | None) -> str:
    """The tracking URI with nothing relative left in it. None: `<folder>/mlflow.db`.

    InputError for one that is no database and no server, EnvironmentFault for a database without its Python package.
    """
    if uri is None:
        return sqlite_uri(folder.resolve() / DATABASE)
    if not uri.startswith(SCHEMES):
        raise InputError(f"tracking uri {uri!r}: expected sqlite:///FILE, a database or http(s)://HOST:PORT")
    scheme, _, driver = uri.partition("://")[0].partition("+")
    module = driver or DRIVERS.get(scheme)
    if scheme in DRIVERS and module and importlib.util.find_spec(module) is None:
        package = DRIVER_PACKAGES.get(module, module)
        raise EnvironmentFault(f"tracking uri {redacted(uri)}: {scheme} needs a package: pip install '{package}'")
    path = sqlite_path(uri)
    if path is None:
        return uri
    _, mark, query = uri.partition("?")
    if "/" in query:
        raise InputError(f"tracking uri {uri!r}: what follows a `?` is no part of the path; write %3F for it")
    return f"{sqlite_uri(path.resolve())}{mark}{query}"


def sqlite_uri(path: Path) -> str:
    """The URI of a sqlite file, as SQLAlchemy reads it: it decodes `%` and takes what follows `?` as a query.

    Where something is quoted the driver is named too: MLflow makes a folder of the quoted name for sqlite:/// alone.
    """
    quoted = str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    return f"sqlite:///{quoted}" if quoted == str(path) else f"sqlite+pysqlite:///{quoted}"


def sqlite_path(uri: str) -> Path | None:
    """The file that a sqlite URI names, as SQLAlchemy reads it; None for any other URI."""
    path = uri.partition(":///")[2] if uri.startswith(SQLITE) else ""
    return Path(urllib.parse.unquote(path.partition("?")[0])) if path else None


def redacted(text: str) -> str:
    """`text` on one line, without the user and password of any URL in it."""
    return re.sub(r"//[^/@\s]+@", "//***@", " ".join(text.split()))


def set_environment(uri: str) -> None:
    """MLflow's switches, where the user has not set them: no telemetry, no chatter, short waits for a server."""
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    if uri.startswith("sqlite"):  # a pooled connection goes on writing into a database that was deleted or replaced
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")


def prepare_database(path: Path, *, replace: bool) -> None:
    """Bring up the sqlite store at `path` before anything opens it: whole or not at all, by one process at a time.

    A second process that meets a half-made MLflow database fails and leaves it unusable for good, and so does a kill
    during the migrations; so it is made under a temporary name. `replace`: a file that is no MLflow database is set
    aside as `<name>.broken[-i]` (never deleted) and made again; otherwise it is a sqlite3.DatabaseError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock", timeout=60):
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, expected a database file: move it away")
        if path.exists():
            try:
                _check_database(path)
                return
            except sqlite3.DatabaseError as error:
                locked = isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error)
                if locked or not replace:
                    raise
            _set_aside(path)
        _create_database(path)


def relocate(path: Path, artifacts: str) -> None:
    """Make the study's own database at `path` look for artifacts where they are: its folder may have been moved.

    `artifacts`: the URI of the study's folder `mlartifacts`. MLflow writes the place down once, absolute.
    """
    with contextlib.closing(open_database(path, "rw")) as connection, connection:
        places = connection.execute("select artifact_location from experiments where artifact_location like ?", (LIKE,))
        for (old,) in places.fetchall():
            if old == artifacts:
                continue
            connection.execute(
                "update experiments set artifact_location = ? where artifact_location = ?", (artifacts, old)
            )
            connection.execute(
                "update runs set artifact_uri = ? || substr(artifact_uri, ?) where substr(artifact_uri, 1, ?) = ?",
                (artifacts, len(old) + 1, len(old) + 1, f"{old}/"),
            )


def open_database(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to the sqlite file at `path`, which must be there; `mode` is ro or rw."""
    return sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_SECONDS)


def _check_database(path: Path) -> None:
    """sqlite3.DatabaseError unless `path` holds a database that MLflow's migrations have finished."""
    # not read-only: what a killed writer left half-done is taken back by the first reader that may write
    with contextlib.closing(open_database(path, "rw")) as reader:
        if reader.execute("select version_num from alembic_version").fetchone() is None:
            raise sqlite3.DatabaseError(f"{path} holds unfinished MLflow migrations")


def _set_aside(path: Path) -> None:
    target, copies = path.with_name(f"{path.name}.broken"), 0
    while target.exists():
        copies += 1
        target = path.with_name(f"{path.name}.broken-{copies}")
    path.rename(target)


def _create_database(path: Path) -> None:
    from mlflow.store.db import utils

    sweep(path.parent, path.name)  # of a driver that was killed; the lock is held
    with made_whole(path) as temporary:
        engine = utils.create_sqlalchemy_engine(sqlite_uri(temporary))
        try:
            utils._initialize_tables(engine)  # what `mlflow db upgrade` and the first client call run
        finally:
            engine.dispose()
