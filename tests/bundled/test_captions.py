import open_clip
import pytest

from clisc_nnunet.bundled.captions import draw_captions
from clisc_nnunet.bundled.training_tasks import TRAINING_TASKS
from clisc_nnunet.models.clip import ClosedVocabulary
from clisc_nnunet.models.weights import read_card
from clisc_nnunet.stages.clip_labels import PAPER_TEXT_PROMPTS


@pytest.fixture(scope="module")
def learnt():
    """Architecture of the bundled CLIP as its recipe builds it."""
    return TRAINING_TASKS["clip"].build(0)[1]


def test_captions_of_both_classes_differ():
    normal, tumour = draw_captions(500, seed=3)
    assert len(normal) == len(set(normal)) > 300
    assert len(tumour) == len(set(tumour)) > 300
    assert not set(normal) & set(tumour)


def test_the_seed_decides():
    assert draw_captions(50, seed=3) == draw_captions(50, seed=3)
    assert draw_captions(50, seed=3) != draw_captions(50, seed=4)


def test_the_papers_prompts_are_never_read_but_their_words_are(learnt):
    normal, tumour = draw_captions(6000, seed=0)
    words = {word for caption in normal + tumour for word in caption.split()}
    for prompts in PAPER_TEXT_PROMPTS.values():
        for prompt in prompts:
            assert prompt not in normal + tumour
            assert set(prompt.split()) <= words


def test_the_vocabulary_holds_the_papers_prompts(learnt):
    tokenize = ClosedVocabulary(learnt["vocabulary"], learnt["context"])
    texts = [*PAPER_TEXT_PROMPTS["normal"], *PAPER_TEXT_PROMPTS["tumour"]]
    open_tokens = open_clip.tokenizer.SimpleTokenizer(context_length=learnt["context"])(texts)
    for ours, theirs in zip(tokenize(texts).tolist(), open_tokens.tolist(), strict=True):
        assert [learnt["vocabulary"][t - 1] if t else 0 for t in ours] == theirs
        # open_clip reads the text's embedding at its largest token, which must be its end.
        assert ours.index(max(ours)) == theirs.index(max(theirs)) == sum(t > 0 for t in ours) - 1


def test_the_bundled_clip_is_the_recipes(learnt):
    card = read_card("clip")["architecture"]
    assert {**card, "vocabulary": tuple(card["vocabulary"])} == learnt
