"""Words that say nothing about what a text is about, for the scripts and languages of the reports.

English in full, since most pages are; for the others the commonest function and question words.
"""

from __future__ import annotations

from typing import Final

_ENGLISH = """
a about above after again against all also am an and any are aren't as at be because been before
being below between both but by can can't cannot could couldn't did didn't do does doesn't doing
don't down during each either etc ever every few for from further had has hasn't have haven't
having he her here hers herself him himself his how however i if in into is isn't it it's its
itself just let like may me might more most much must my myself neither no nor not of off often on
once one only or other our ours ourselves out over own per quite rather really s same shall she
should shouldn't since so some such t than that that's the their theirs them themselves then there
there's these they this those through thus to too under until up upon us very via was wasn't we
were weren't what what's when whenever where whereas whether which while who whom whose why will
with within without won't would wouldn't yes yet you your yours yourself yourselves please tell
explain describe give show know want need make makes made using used use uses get gets got happens
happen mean means work works
"""
_EUROPEAN = """
der die das den dem des ein eine einer eines einem einen und oder aber ist sind war wie was wer
warum wann wo welche welcher welches nicht mit von zu zum zur im am auf für bei als auch sich man
wird werden kann es sie er wir ihr ich le la les un une des du de et ou est sont était qui que
quoi quel quelle quels quelles comment pourquoi quand où dans sur avec pour par pas ne se ce cette
ces il elle nous vous ils el los las una unos unas y o es son qué cómo cuál cuáles quién cuándo
dónde por para con del al se no su sus lo en os uma uns umas e são como qual quais quem quando
onde porque do da dos das no na nos nas em ao não il lo gli uno ed è sono che cosa come quale
quali chi perché dove di della dei delle nel nella con и в во не что он на я с со как а то все она
так его но да ты к у же вы за бы по от о из ему кто это какой какая какие почему когда где для при
или ли في من على إلى عن ما ماذا كيف لماذا متى أين هل هو هي هذا هذه التي الذي و أو مع
"""
_CJK = """
什么 怎么 怎样 如何 为什 为何 么是 是什 哪些 哪个 哪里 是否 以及 还是 或者 可以 能够 一个 一种
这个 那个 这些 那些 因为 所以 但是 如果 请问 有哪 些是 有什 么样 之间 我们 你们 他们 它们 没有
不是 就是 也是 都是 时候 进行 通过 对于 何か とは どの どう なぜ いつ どこ ため こと もの 無い
무엇 어떻 떻게 왜는 언제 어디 입니 니다 하는 에서 으로 그리 리고
"""

STOP_WORDS: Final[frozenset[str]] = frozenset((_ENGLISH + _EUROPEAN).split())
"""Lower-cased words of alphabetic scripts."""

STOP_BIGRAMS: Final[frozenset[str]] = frozenset(_CJK.split())
"""Two-character pieces of function words in Chinese, Japanese and Korean."""

STOP_CHARACTERS: Final[frozenset[str]] = frozenset("的了吗呢吧啊嘛么是在和与及或把被让")
"""Chinese particles: a bigram that holds one crosses a word border."""
