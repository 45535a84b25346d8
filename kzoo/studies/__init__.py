"""Studies: what each technique is worth, by an experiment that anybody can repeat.

Nothing here needs Keras before the first network is trained.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily

if TYPE_CHECKING:
    from kzoo.studies.bench import Bench
    from kzoo.studies.catalogue import find_study
    from kzoo.studies.conclusions import Conclusion, conclude
    from kzoo.studies.network import Network
    from kzoo.studies.running import StudyResult, run_studies, run_study
    from kzoo.studies.study import Chart, Claim, Line, Study
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "bench": ["Bench"],
            "catalogue": ["find_study"],
            "conclusions": ["Conclusion", "conclude"],
            "network": ["Network"],
            "running": ["StudyResult", "run_studies", "run_study"],
            "study": ["Chart", "Claim", "Line", "Study"],
        },
    )

__all__ = [
    "Bench",
    "Chart",
    "Claim",
    "Conclusion",
    "Line",
    "Network",
    "Study",
    "StudyResult",
    "conclude",
    "find_study",
    "run_studies",
    "run_study",
]
