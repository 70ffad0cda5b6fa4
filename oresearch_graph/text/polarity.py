"""Whether two texts say the opposite: negations, and pairs of words such as rise and fall.

Word lists, no model: what they do not hold is not seen. The pairs were chosen by hand; which are
common was looked up in the antonyms of WordNet 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from typing import Final, NamedTuple

from oresearch_graph.text.words import Word, stem

_NEAR: Final = 5
"""Content words on each side of a negation or of one of a pair that say what it is about."""
_NEGATION_WORDS: Final[Mapping[str, str]] = {
    "en": "not never no nor neither cannot nobody nothing nowhere without hardly barely scarcely "
          "unable fail refuse deny lack false untrue incorrect",
    "de": "nicht nichts kein keine keinen keinem keiner keines nie niemals niemand weder ohne",
    "fr": "pas jamais aucun aucune sans rien ni",
    "es": "no nunca jamás ningún ninguno ninguna sin nada nadie",
    "pt": "não nunca jamais nenhum nenhuma sem nada ninguém",
    "it": "non mai nessun nessuno nessuna senza niente nulla",
    "nl": "niet geen nooit niemand niets zonder",
    "ru": "не нет ни никогда без нельзя",
    "ar": "لا ليس ليست لم لن بدون",
}  # fmt: skip
_FALL: Final = stem("fall")
_YEAR: Final = re.compile(r"(?:1[5-9]|20)\d\d")
_AMBIGUOUS: Final = frozenset(("mai", "sin", "sem", "non", "ni", "nada", "pas", "rien", "no"))
"""What is another word in another language."""
_CLEAR: Final = frozenset(
    stem(word)
    for language, words in _NEGATION_WORDS.items()
    for word in words.split()
    if language == "en" or word not in _AMBIGUOUS
)
_MAY_BE_VERBS: Final = frozenset(map(stem, ("fail", "refuse", "deny", "lack")))
"""What denies before `to` alone: else it is the opposite of a verb."""
_DENIAL_WORDS: Final = "false untrue incorrect myth hoax rumor rumour alleged claim deny doubt if"
_DENIALS: Final = frozenset(map(stem, _DENIAL_WORDS.split()))
"""What makes of a sentence something that is not so, or not known."""
_HAN_WORDS: Final = """
没有 沒有 不是 不会 不會 不能 不可 不应 不應 不再 不曾 并未 並未 并非 並非 绝非 未能 未曾
未被 未有 尚未 从未
從未 无法 無法 没能 ない ません
"""
_HAN: Final = frozenset(_HAN_WORDS.split())
_HAN_BEFORE: Final = frozenset("不没沒")
_HAN_OTHERS: Final = """
不同 不断 不斷 不仅 不僅 不但 不过 不過 不论 不論 不管 不久 不少 不锈 不鏽 不丹 不单 不妨 不得
不良 不幸 不足
不动 不動 不均 不安 不明 不等 不限 不超 没收 沒收
"""
_HAN_NONE: Final = frozenset(_HAN_OTHERS.split())
"""Words that begin so and deny nothing."""
_NO_NEGATION: Final = frozenset(
    ("only", "just", "merely", "least", "less", "fewer", "more", "one", "nur", "seulement")
)
_SAID: Final = 0.6
"""Share of a claim's words in a sentence that says the same or the opposite."""
_SURELY_SAID: Final = 0.8
_ALIKE: Final = 0.6
"""Share of the words around one that stand around its opposite, where both are about one thing."""
_POLED: Final = 40
"""Words of a text that are held against the passage's."""
_OPPOSITES: Final = """
rise rose risen rising raise increase increased grow grew grown growth climb gain surge soar
expand expansion upward higher escalate multiply | fall fell fallen falling decrease decreased
decline drop shrink shrank reduce reduction lower cut down plunge plummet downward diminish
dwindle ; more greater exceed over | less fewer under ; most best maximum highest largest biggest
greatest majority top | least worst minimum lowest smallest fewest minority bottom ; high tall |
low short ; large big huge vast major broad wide | small little tiny minor narrow slight ; many
numerous multiple | few single ; long lengthy lengthen | short brief shorten ; first earliest
initial primary | last latest final ; early earlier before prior preceding precede | late later
after subsequent succeeding succeed ; begin began begun beginning start open opened opening launch
found commence introduce | end ended ending stop finish close closed closing shut cease halt
abolish discontinue ; new recent modern young | old ancient aged elderly ; win won victory winner
beat defeat triumph | lose lost loss loser ; succeed success successful successfully pass | fail
failure unsuccessful unsuccessfully ; accept accepted agree approve admit approval consent |
reject rejected refuse decline deny disagree disapprove rejection denial ; allow permit enable
legal authorize let | forbid forbade prohibit ban prevent disable illegal block disallow ; support
favor favour endorse defend promote advocate | oppose against criticize attack resist ; include
included including | exclude excluded excluding omit ; add addition join attach unite merge |
subtract remove delete leave detach divide separate split ; arrive enter come came arrival | leave
left depart exit go went departure ; buy bought purchase import | sell sold sale export ; hire
appoint recruit employ | fire dismiss sack resign ; give gave given grant donate | take took taken
withdraw withdrew seize ; borrow | lend lent ; create build built construct establish form |
destroy demolish dismantle ruin dissolve disband ; strong strongly strength strengthen powerful |
weak weakly weakness weaken powerless ; good well positive positively better improve improvement
benefit beneficial | bad badly poor poorly negative negatively worse worsen deteriorate harm
harmful ; safe safety | dangerous danger unsafe risky ; easy easily simple | difficult difficulty
hard complex complicated ; fast quick quickly rapid rapidly accelerate sudden suddenly | slow
slowly gradual gradually decelerate ; hot warm heat | cold cool chill ; north northern | south
southern ; east eastern | west western ; northeast northeastern | southwest southwestern ;
northwest northwestern | southeast southeastern ; above over overhead | below under beneath ;
inside internal indoor inner within | outside external outdoor outer beyond ; front forward ahead
advance | rear back backward behind retreat ; domestic national | foreign international ; local |
national global ; native | foreign ; public publicly | private privately secret ; male man men boy
father son brother husband | female woman women girl mother daughter sister wife ; born birth
alive living live | died die dead death dying deceased ; correct right accurate | wrong inaccurate
; full fully complete completely whole entire entirely total | empty partial partially partly
incomplete ; always often frequently frequent common commonly usually widespread | rarely seldom
rare infrequent uncommon ; same similar identical equal | different distinct dissimilar unequal
unlike ; near close nearby | far distant remote ; light lightly | heavy heavily dark ; bright |
dark dim ; black | white ; day | night ; dry arid | wet humid ; rich wealthy wealth | poor poverty
; expensive costly | cheap inexpensive ; hope hopeful optimistic optimism | despair hopeless
pessimistic pessimism ; love | hate dislike ; peace peaceful | war violent ; friend friendly ally
| enemy foe hostile ; guilty convict convicted conviction | innocent acquit acquitted acquittal ;
active actively | passive inactive dormant ; urban city | rural ; upper | lower ; senior | junior
; superior | inferior ; natural | artificial synthetic ; permanent permanently | temporary
temporarily ; voluntary | compulsory mandatory ; professional | amateur ; civilian | military ;
liberal progressive | conservative ; democrat democratic | republican ; profit profitable surplus
| loss unprofitable deficit ; supply | demand ; employer | employee ; teacher | student ; parent |
child ; husband | wife ; present presence available | absent absence unavailable ; visible |
invisible hidden ; known famous famously | unknown obscure ; public | private ; direct directly |
indirect indirectly ; explicit | implicit ; thick | thin ; deep | shallow ; vertical | horizontal
; acid acidic | alkaline ; solid | liquid gas ; liquid | gas ; encourage | discourage ; attract
attraction | repel repulsion ; maximize | minimize ; upgrade | downgrade ; inflation | deflation ;
appreciate appreciation | depreciate depreciation ; asset | liability ; credit | debit ; income
revenue | expense expenditure cost ; winner | loser ; majority | minority ; ancestor | descendant
; predecessor | successor ; import | export ; ascend ascent | descend descent ; attack | defend
defense defence ; offensive | defensive ; praise acclaim acclaimed | criticize criticise criticism
pan ; happy happily glad joy | sad sadly unhappy sorrow ; beautiful | ugly ; clean | dirty ; soft
softly quiet quietly | loud loudly noisy ; remember | forget forgot ; ask question | answer reply
; keep kept retain maintain preserve | lose lost abandon discard ; show reveal expose | hide
conceal ; connect link | disconnect ; lock | unlock ; load | unload ; install | uninstall ;
mutable | immutable ; synchronous | asynchronous ; static | dynamic ; ordered | unordered ;
optional | required mandatory ; input | output ; read | write ; push | pull ; cause | prevent ;
stay remain | leave change move ; unanimous unanimously | divided ; prove confirm | disprove
refute ; sink sank | float ; freeze froze | melt thaw ; expand | shrink ; steigen steigt stieg
stiegen gestiegen zunehmen erhöhen erhöht wachsen gewachsen mehr höher | sinken sinkt sank sanken
gesunken fiel fielen gefallen abnehmen senken gesenkt schrumpfen weniger niedriger fallen gefallen
; größte höchste meisten | kleinste niedrigste wenigsten ; vor früher | nach später ; groß hoch |
klein niedrig ; norden nördlich | süden südlich ; osten östlich | westen westlich ; augmenter
augmenté hausse croissance plus | diminuer diminué baisse recul moins ; nord | sud ; avant | après
; premier première | dernier dernière ; eröffnen eröffnet öffnen geöffnet | schließen schließt
geschlossen schloss ; aumentar aumentó aumento subir subió crecer creció más | disminuir disminuyó
descenso bajar bajó reducir redujo menos ; antes | después ; norte | sur sul ; mayor | menor ;
上升 增加 增长 提高 上涨 扩大 升高 増加 上昇 拡大 | 下降 减少 降低 下跌 缩小 减小 減少 低下 縮小 ;
最高 最大 最多 | 最低 最小 最少 ; 最早 | 最晚 ; 高于 多于 大于 | 低于 少于 小于 ; 之前 以前 | 之后
以后 ; 开始 | 结束 ; 成功 | 失败 失敗 ; 支持 | 反对 ; 允许 | 禁止 ; 有利 | 不利 ; 北部 | 南部 ;
东部 | 西部 ; 进口 | 出口 ; 买入 | 卖出 ; 正面 | 负面 ; 优于 | 劣于
"""


_Poles = Mapping[str, tuple[tuple[int, int], ...]]


def _stems(group: str) -> Iterator[str]:
    """Of each word and its forms."""
    for word in group.split():
        endings = ("", "s", "d", "ed", "ing") if len(word) > 2 and word != "war" else ("",)
        yield from (stem(word + ending) for ending in endings)


def _poles() -> tuple[_Poles, Sequence[tuple[frozenset[str], frozenset[str]]]]:
    by_word: dict[str, tuple[tuple[int, int], ...]] = {}
    pairs = []
    for pair, line in enumerate(_OPPOSITES.split(";")):
        sides = [frozenset(_stems(group)) for group in line.split("|")]
        pairs.append((sides[0], sides[1]))
        for side, group in enumerate(sides):
            for word in group:
                by_word[word] = (*by_word.get(word, ()), (pair, side))
    return by_word, pairs


_POLES, _PAIRS = _poles()
"""By a word's stem the pairs it belongs to and its side of each; both sides of each pair."""


class Reversal(NamedTuple):
    """A word by which two texts say the opposite of one thing."""

    word: str
    sure: bool
    """No sentence of the passage says it as the claim does."""


class Denial:
    """What negates in the texts of a language; what is clear in any counts everywhere."""

    def __init__(self, language: str) -> None:
        of_language = frozenset(map(stem, _NEGATION_WORDS.get(language, "").split()))
        self._words = _CLEAR | of_language

    def places(self, words: Sequence[Word]) -> list[int]:
        """Where negations stand; `not only` and `no. 1` are none."""
        after = [*(word.stem for word in words[1:]), ""]
        return [at for at, word in enumerate(words) if self._negates(word.stem, after[at])]

    def _negates(self, word: str, after: str) -> bool:
        if after in _NO_NEGATION or (word == "no" and after[:1].isdigit()):
            return False
        if word in self._words:
            return word not in _MAY_BE_VERBS or after == "to"
        han = word in _HAN or (len(word) == 2 and word[0] in _HAN_BEFORE and word not in _HAN_NONE)
        return han or word.endswith("n't")

    def reversals(
        self, claim: Sequence[Word], passage: Sequence[Sequence[Word]], named: Set[str]
    ) -> list[Reversal]:
        """The claim's words, or the passage's negations, by which one says the opposite of the
        other; `passage` is its sentences, `named` the words of names, which say nothing. A negation
        and an opposite undo each other."""
        poled = list(_reversed_words(claim, passage, named))
        negations = [*self._negated(claim, passage, named), *self._negated_there(claim, passage)]
        return [] if poled and negations else [*poled, *negations]

    def denied(self, words: Sequence[Word]) -> int:
        """How much in a sentence denies it, or makes it a case or a rumour."""
        return len(self.places(words)) + sum(word.stem in _DENIALS for word in words)

    def _negated(
        self, claim: Sequence[Word], passage: Sequence[Sequence[Word]], named: Set[str]
    ) -> Iterator[Reversal]:
        """Negations of the claim whose neighbours stand in the passage without any."""
        for at in self.places(claim)[:_POLED]:
            if claim[at].stem in named:
                continue
            around = _around(claim, at)
            shared = [(len(around & {word.stem for word in each}), each) for each in passage]
            most = max((count for count, _ in shared), default=0)
            if not any(count and count == most and self.places(each) for count, each in shared):
                yield Reversal(claim[at].stem, most > 1 and most >= _ALIKE * len(around))

    def _negated_there(
        self, claim: Sequence[Word], passage: Sequence[Sequence[Word]]
    ) -> Iterator[Reversal]:
        """What denies the sentence that says most of the claim, which itself denies nothing."""
        terms = {word.stem for word in claim if not word.stop}
        if not terms or self.denied(claim) or not passage:
            return
        said = max(passage, key=lambda each: len(terms & {word.stem for word in each}))
        share = len(terms & {word.stem for word in said}) / len(terms)
        if share < _SAID:
            return
        for at in self.places(said):
            after = [word.stem for word in said[at + 1 : at + 8] if not word.stop][:2]
            if after and all(word in terms for word in after):
                yield Reversal(said[at].stem, share >= _SURELY_SAID)
        yield from (Reversal(word.stem, sure=False) for word in said if word.stem in _DENIALS)


@cache
def denial_in(language: str) -> Denial:
    """The one of a language; English where it has none."""
    return Denial(language)


def _reversed_words(
    claim: Sequence[Word], passage: Sequence[Sequence[Word]], named: Set[str]
) -> Iterator[Reversal]:
    """Words of the claim whose opposite stands where more of their neighbours do than where they,
    or others of their side, stand."""
    there = [(word, _around(each, at)) for each in passage for at, word in _poled(each)]
    for at, word in [found for found in _poled(claim) if found[1] not in named][:_POLED]:
        same = frozenset[str]().union(*(_PAIRS[pair][side] for pair, side in _POLES[word]))
        other = frozenset[str]().union(*(_PAIRS[pair][1 - side] for pair, side in _POLES[word]))
        other -= same
        around = _around(claim, at) - other
        alike = max((len(around & near) for each, near in there if each in same), default=-1)
        opposed = max((len(around & near) for each, near in there if each in other), default=-1)
        if opposed > alike:
            near = opposed >= min(2, len(around)) and opposed >= _ALIKE * len(around)
            yield Reversal(word, alike < 0 and near)


def _poled(words: Sequence[Word]) -> Iterator[tuple[int, str]]:
    """The words of a pair and where they stand."""
    for at, word in enumerate(words):
        if word.stem in _POLES and not (word.stem == _FALL and _is_season(words[at + 1 : at + 4])):
            yield at, word.stem


def _is_season(after: Sequence[Word]) -> bool:
    """True for what follows in `the fall of 1911`; a year with a thing behind it is a number."""
    after = after[1:] if after and after[0].stem == "of" else after[:2]
    year = bool(after) and _YEAR.fullmatch(after[0].stem) is not None
    return year and all(word.stop for word in after[1:])


def _around(words: Sequence[Word], at: int) -> frozenset[str]:
    """The content words beside one, at most `_NEAR` on each side."""
    before = [word.stem for word in words[max(at - 3 * _NEAR, 0) : at] if not word.stop][-_NEAR:]
    after = [word.stem for word in words[at + 1 : at + 1 + 3 * _NEAR] if not word.stop][:_NEAR]
    return frozenset((*before, *after))
