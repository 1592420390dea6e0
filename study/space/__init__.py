"""Space files: YAML, overrides, validation, and the study that they describe."""

from study.space.reader import make_space as make_space
from study.space.reader import read_space as read_space
from study.space.spec import Resources as Resources
from study.space.spec import StudySpec as StudySpec
