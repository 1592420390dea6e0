"""Studies on a Ray cluster: jobs, tokens, the files of a job, and the nodes."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.cluster.access import reach as reach
    from study.cluster.jobs import Submission as Submission
    from study.cluster.jobs import describe_job as describe_job
    from study.cluster.jobs import follow as follow
    from study.cluster.jobs import stop as stop
    from study.cluster.jobs import submit as submit
    from study.cluster.nodes import check_code as check_code
    from study.cluster.nodes import check_shared as check_shared
    from study.cluster.ray_address import joined as joined

__getattr__, __all__ = public_names(
    __name__,
    {
        "Submission": "jobs",
        "check_code": "nodes",
        "check_shared": "nodes",
        "describe_job": "jobs",
        "follow": "jobs",
        "joined": "ray_address",
        "reach": "access",
        "stop": "jobs",
        "submit": "jobs",
    },
)
