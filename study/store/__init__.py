"""The records of a study: whole files, checksums, and a study at a URL."""

from study.store.record import Failure as Failure
from study.store.record import Record as Record
from study.store.store import Store as Store
from study.store.whole_files import write_atomic as write_atomic
