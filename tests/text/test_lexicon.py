import pytest

from aimed.core.errors import DataError, UnknownNameError
from aimed.text.labeller import ReportLabeller
from aimed.text.lexicon import lexicon_names, load_lexicon

LANGUAGE = """
name = "short"
version = "1"
[assertions.negation]
value = "negative"
before = ["no"]
"""
LEXICON = """
name = "knee"
version = "2"
language = "short"
[targets.all]
"Effusion" = ["effusion"]
"Tear" = ["tear"]
"None" = { none_of = "all", unless = ["other"] }
[concepts.effusion]
phrases = ["effusion*"]
[concepts.tear]
phrases = ["tear"]
children = ["rupture"]
[concepts.rupture]
phrases = ["rupture*"]
[concepts.other]
phrases = ["cyst"]
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "short.toml").write_text(LANGUAGE)

    def one(text, name="knee.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return one


def test_the_shipped_lexicon_has_both_sets_of_labels():
    lexicon = load_lexicon("chest-xray")
    assert "chest-xray" in lexicon_names()
    assert len(lexicon.targets["chexpert"]) == 14
    assert len(lexicon.targets["nih"]) == 14
    assert load_lexicon(lexicon) is lexicon


def test_a_lexicon_of_another_organ_labels(write):
    found = ReportLabeller(write(LEXICON), "all").label(["No effusion. Ruptured tendon", "No rupture", "Cyst", "Fine"])
    assert found.targets == ("Effusion", "Tear", "None")
    # A denied child says nothing of its parent; a finding that "unless" names keeps "None" away.
    assert found.to_frame().select("Effusion", "Tear", "None").rows() == [
        (0, 1, None), (None, None, 1), (None, None, None), (None, None, 1),
    ]  # fmt: skip


def test_a_lexicon_extends_replaces_and_removes(write):
    write(LEXICON)
    own = write(
        'name = "mine"\nversion = "3"\nextends = "knee.toml"\nremove = ["tear", "rupture"]\n'
        '[targets.all]\n"Bone" = ["bone"]\n[concepts.bone]\nphrases = ["bone bruise"]\n'
        '[concepts.effusion]\nphrases = ["fluid"]\n',
        "mine.toml",
    )
    lexicon = load_lexicon(own)
    assert list(lexicon.targets["all"]) == ["Effusion", "None", "Bone"]
    assert list(lexicon.concepts) == ["effusion", "other", "bone"]
    found = ReportLabeller(own, "all").label(["Fluid and an effusion, no bone bruise"])
    assert found.value(0, "Effusion") == 1
    assert found.value(0, "Bone") == 0
    assert len(found.evidence) == 2


def test_the_digest_is_of_the_content(write):
    first = load_lexicon(write(LEXICON)).digest
    assert load_lexicon(write(LEXICON + "\n# a remark\n", "same.toml")).digest == first
    assert load_lexicon(write(LEXICON.replace("cyst", "cysts"), "other.toml")).digest != first


def test_a_file_that_changes_is_read_anew(write):
    import os

    path = write(LEXICON)
    before = load_lexicon(path)
    write(LEXICON.replace('"tear"]\nchildren', '"torn"]\nchildren'))
    os.utime(path, ns=(1, 1))
    assert load_lexicon(path).concepts["tear"].phrases != before.concepts["tear"].phrases


@pytest.mark.parametrize(
    ("old", "new", "kind", "says"),
    [
        ('phrases = ["tear"]', 'phrase = ["tear"]', DataError, "did you mean 'phrases'"),
        ('version = "2"', 'version = "2"\nlanguge = "x"', DataError, "did you mean 'language'"),
        ('["rupture"]', '["ruptur"]', UnknownNameError, "did you mean 'rupture'"),
        ('= ["tear"]\n"None"', '= ["teer"]\n"None"', UnknownNameError, "did you mean 'tear'"),
        ('unless = ["other"]', 'unles = ["other"]', DataError, "unles"),
        ('"short"', '"shot"', UnknownNameError, "shot"),
        ('language = "short"', "", DataError, "names no language"),
        ('phrases = ["cyst"]', "phrases = 3", DataError, "is not right"),
        ('phrases = ["cyst"]', 'phrases = ["cyst"', DataError, "is not TOML"),
        ('phrases = ["cyst"]', "phrases = []", DataError, "has nothing to find"),
        ('phrases = ["cyst"]', 'anatomy = ["knee"]', DataError, "has nothing to find"),
        ('version = "2"', 'version = "2"\nremove = ["tear"]', DataError, "extends nothing"),
        ('version = "2"', 'version = "2"\nextends = "knee.toml"', DataError, "extends itself"),
        ("[concepts.other]", "[conventions.al]\ncertain = []\n[concepts.other]", UnknownNameError, "al"),
        (
            "[concepts.other]",
            '[conventions.all]\ncertain = ["negtion"]\n[concepts.other]',
            UnknownNameError,
            "negation",
        ),
    ],
)
def test_what_is_wrong_in_a_lexicon_is_named(write, old, new, kind, says):
    assert old in LEXICON
    with pytest.raises(kind, match=says):
        load_lexicon(write(LEXICON.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[assertions.x]\nvalue = "negative"\ncontext = "family"', "either value or context"),
        ('[assertions.x]\nbefore = ["no"]', "either value or context"),
        ('[assertions.negation]\nvalue = "negative"\nfirst = ["not"]', "no trigger called 'not'"),
        ('[assertions.negation]\nvalue = "maybe"', "assertions.negation.value"),
        ('[scope]\nterminator = ["but"]', "did you mean 'terminators'"),
        ("[attributes.size]\ninches = []", "attributes.size"),
    ],
)
def test_what_is_wrong_in_a_language_is_named(write, tmp_path, text, says):
    path = write(LEXICON)
    (tmp_path / "short.toml").write_text(f'name = "short"\nversion = "1"\n{text}\n')
    with pytest.raises((DataError, UnknownNameError), match=says):
        load_lexicon(path)


def test_a_language_extends_another(write, tmp_path):
    write(LEXICON)
    (tmp_path / "own.toml").write_text(
        'name = "own"\nversion = "1"\nextends = "short.toml"\n[assertions.negation]\nbefore = ["kein"]\n'
    )
    labeller = ReportLabeller(write(LEXICON.replace('"short"', '"own"'), "mine.toml"), "all")
    found = labeller.label(["kein effusion", "no effusion"])
    assert found.values[:, 0].tolist() == [0, 0]


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownNameError, match="chest-xray"):
        load_lexicon("chest-xrai")
    with pytest.raises(UnknownNameError, match="chexpert"):
        ReportLabeller(targets="chexprt")
    with pytest.raises(DataError, match="no lexicon at the path"):
        load_lexicon("nowhere/none.toml")
    with pytest.raises(UnknownNameError, match="did you mean 'impression'"):
        ReportLabeller(sections=["impresion"])
