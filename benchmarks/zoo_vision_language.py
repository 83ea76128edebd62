"""The vision-language rows of the zoo, on the test pictures of captioned shapes, which are new renderings.

CLIP's recall counts meanings, not words: a picture is held against 216 meanings, a caption, in one of many wordings,
against all 1,080 pictures, five of which show what it says; the lower of the two directions is the bar. The captioner
learns one wording for each meaning, so that a caption equal in words is one equal in meaning, and the other way round.
"""

from __future__ import annotations

from benchmarks.bars import Bar

BARS = (
    Bar(name="captioned shapes CLIP", spec="zoo/clip.yaml", metric="recall_at_1", values=(0,), at_least=0.90),
    Bar(name="captioned shapes captioner", spec="zoo/captioner.yaml", metric="exact_match", values=(0,), at_least=0.85),
)
