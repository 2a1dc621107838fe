"""One switch for what the libraries print by themselves: our own progress and errors are enough.

Errors still pass; only progress bars, advertisements of optional kernels and advice are silenced.
"""

from __future__ import annotations

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Silence progress bars and warnings of transformers and bitsandbytes in this process."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    # In a notebook, of bars that are not shown; said when transformers is imported, so before that.
    warnings.filterwarnings("ignore", message="IProgress not found")
    # Before bitsandbytes is imported: it warns at import of an optional kernel we never fetch.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
