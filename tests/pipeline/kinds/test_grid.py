"""The grid question: how pages are drawn, gold tiles, simulated answers."""

from __future__ import annotations

import numpy as np
import torch

from feedback_store.pages import read_page_answer
from feedback_store.schemas.base import Subject
from pipeline.config.collect import CollectConfig
from pipeline.data.gold_labels import GoldLabels
from pipeline.kinds import Queries, ScreenSettings, Simulation, TeacherParameters, kinds
from pipeline.kinds.grid import Grid
from pipeline.kinds.grid_pages import draw_pages, fill_pages

SETTINGS = ScreenSettings(("ant", "bee"), 5)


def policy(*probabilities: float) -> torch.Tensor:
    """Log-probabilities of two classes, of images with these probabilities of the first."""
    p = torch.tensor(probabilities)
    return torch.stack([p, 1 - p], 1).log()


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_page_has_images_of_one_predicted_class() -> None:
    """Twelve images of each class: two pages of six for each, every image once."""
    log_p = policy(*[0.8] * 12, *[0.2] * 12)
    rows, labels = draw_pages(torch.arange(24), 4, 6, log_p, random())
    assert sorted(rows.flatten().tolist()) == list(range(24))
    assert sorted(labels.tolist()) == [0, 0, 1, 1]
    for page, label in zip(rows, labels.tolist(), strict=True):
        assert ((page >= 12).long() == label).all()


def test_uncertain_images_come_first() -> None:
    """Eighteen images of one class: six with 0.6, which is between 0.25 and 0.9, and twelve with 0.95."""
    log_p = policy(*[0.95] * 6, *[0.6] * 6, *[0.95] * 6)
    for seed in range(5):
        rows, _ = draw_pages(torch.arange(18), 3, 6, log_p, random(seed))
        assert sorted(rows[0].tolist()) == [6, 7, 8, 9, 10, 11]
        few, _ = draw_pages(torch.arange(9), 1, 6, policy(*[0.95] * 3, *[0.6] * 6), random(seed))
        assert sorted(few[0].tolist()) == [3, 4, 5, 6, 7, 8], "the other three are too few for a page"


def test_what_is_left_over_joins_the_likeliest_class() -> None:
    """Seven ants and five bees: a page of six ants; the seventh ant, which is the least sure, joins the bees."""
    log_p = policy(0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, *[0.05] * 5)
    rows, labels = draw_pages(torch.arange(12), 2, 6, log_p, random())
    pages = {label: sorted(page) for label, page in zip(labels.tolist(), rows.tolist(), strict=True)}
    assert set(pages) == {0, 1}
    assert set(pages[1]) > {7, 8, 9, 10, 11}
    assert len(set(pages[0]) | set(pages[1])) == 12


def test_a_larger_count_appends_pages_and_a_small_pool_is_one_page() -> None:
    log_p = policy(*np.random.default_rng(0).uniform(0.05, 0.95, 40).tolist())
    few, many = (draw_pages(torch.arange(40), count, 6, log_p, random()) for count in (3, 15))
    assert torch.equal(few[0], many[0][:3])
    assert torch.equal(few[1], many[1][:3])
    assert all(len(set(page)) == 6 for page in many[0].tolist()), "no image twice on a page"
    assert draw_pages(torch.tensor([3, 8, 9]), 2, 24, log_p, random())[0].sort().values.tolist() == [[3, 8, 9]] * 2


def test_a_policy_that_knows_nothing_does_not_put_everything_under_one_class() -> None:
    labels = draw_pages(torch.arange(600), 20, 10, torch.zeros(600, 4).log_softmax(-1), random())[1]
    assert (labels.bincount(minlength=4) >= 3).all()


def test_pages_are_filled_in_the_order_of_the_ranking() -> None:
    """Images 0 to 5 are ants by 0.8, 6 to 11 bees; 12 is too sure, and 2 is named twice. Bees fill the first page of three
    (6, 7, 8), ants the second (0, 2, 1); 9 and 3 are on pages that are not full."""
    log_p = policy(*[0.8] * 6, *[0.2] * 6, 0.97)
    ranked = torch.tensor([6, 0, 12, 2, 7, 2, 8, 9, 1, 3])
    pages, labels, left = fill_pages(ranked, 5, 3, log_p, random())
    assert [sorted(page) for page in pages.tolist()] == [[6, 7, 8], [0, 1, 2]]
    assert labels.tolist() == [1, 0]
    assert left.tolist() == [12, 9, 3]
    pages, labels, left = fill_pages(ranked, 1, 3, log_p, random())
    assert (len(pages), labels.tolist(), left.tolist()) == (1, [1], [0, 12, 2, 9, 1, 3])


def test_too_few_images_of_one_class_fill_a_page_with_others() -> None:
    """Two pages of three: ants 0, 1, 2 fill one; for the other one bee and two that are too sure are left."""
    log_p = policy(0.8, 0.8, 0.8, 0.2, 0.97, 0.98)
    queries = Grid(3).arrange(torch.arange(6), 2, log_p, random())
    assert sorted(queries.rows[0].tolist()) == [0, 1, 2]
    assert sorted(queries.rows[1].tolist()) == [3, 4, 5]
    assert Grid(24).arrange(torch.arange(6), 2, log_p, random()).rows.shape == (2, 6)


def test_pages_of_a_policy_that_knows_nothing_have_the_best_images() -> None:
    """No class is likelier than 0.25: the first six of twelve ranked images are on the two pages."""
    log_p = torch.zeros(12, 10).log_softmax(-1)
    queries = Grid(3).arrange(torch.arange(11, -1, -1), 2, log_p, random())
    assert sorted(queries.rows.flatten().tolist()) == [6, 7, 8, 9, 10, 11]


def test_settings_say_how_many_tiles() -> None:
    kind = kinds.get("grid").configured(CollectConfig(question="grid", grid_tiles=12))
    assert kind.rows_per_question == 12
    assert kind.draw(torch.arange(30), 2, policy(*[0.6] * 30), random()).rows.shape == (2, 12)
    assert kinds.get("grid").rows_per_question == 24


def test_gold_tiles_are_hidden_in_pages() -> None:
    """A quarter of twelve tiles: three, of which one or two are of the page's class."""
    gold = GoldLabels(("ant", "bee"), np.array([-1] * 24 + [0] * 5 + [1] * 5))
    pages = Queries("grid", torch.arange(24).view(2, 12), torch.tensor([[0], [1]]))
    rights = set()
    for seed in range(8):
        hidden = Grid(12).with_gold_tiles(pages, gold, 0.25, random(seed))
        assert hidden is not None
        assert torch.equal(hidden.labels, pages.labels)
        known = hidden.rows >= 24
        assert known.sum(1).tolist() == [3, 3]
        assert torch.equal(hidden.rows[~known], pages.rows[~known])
        for page, label in zip(hidden.rows, (0, 1), strict=True):
            right = int((torch.from_numpy(gold.labels)[page[page >= 24]] == label).sum())
            rights.add(right)
    assert rights == {1, 2}


def simulated(pages: Queries, truth: list[int], **parameters: float) -> list[str]:
    gold = GoldLabels(("ant", "bee", "wasp"), np.array(truth))
    teacher = TeacherParameters(**parameters)
    return kinds.get("grid").simulate(pages, Simulation(gold, teacher, 1.0, 5, np.random.default_rng(0)))


def test_a_perfect_teacher_marks_the_exceptions_and_changes_a_wrong_class() -> None:
    pages = Queries("grid", torch.tensor([[0, 1, 2], [3, 4, 5], [0, 3, 5]]), torch.tensor([[0], [0], [0]]))
    truth = [0, 1, 0, 1, 1, 0]
    assert simulated(pages, truth) == ["1:ant", "2:bee", "1:ant"]
    assert simulated(Queries("grid", torch.tensor([[0, 1, 2]]), torch.tensor([[2]])), [0, 1, 2]) == ["0,1:wasp"]


def test_error_rates_of_a_simulated_teacher() -> None:
    """40 pages of 60, in each 24 exceptions: 960 exceptions, of which 0.3 are missed, and 1,440 right ones."""
    pages = Queries("grid", torch.arange(2400).view(40, 60), torch.zeros(40, 1, dtype=torch.long))
    truth = np.tile([0, 0, 0, 1, 2], 480)
    marked = np.zeros(2400, bool)
    for number, text in enumerate(simulated(pages, truth.tolist(), miss_rate=0.3, false_alarm_rate=0.05)):
        label, places = read_page_answer(text)
        assert label == "ant"
        marked[60 * number + np.array(places)] = True
    assert abs((~marked[truth > 0]).mean() - 0.3) < 0.045, "three standard errors"
    assert abs(marked[truth == 0].mean() - 0.05) < 0.018
    both = simulated(pages, truth.tolist(), eps_mistake=1.0)
    assert read_page_answer(both[0])[1] == np.flatnonzero(truth[:60] == 0).tolist()


def test_valid_answers() -> None:
    kind, page = kinds.get("grid"), Subject(("a", "b", "c"), ("ant",))
    assert all(kind.is_valid(text, page, SETTINGS) for text in (":ant", "0,2:bee"))
    assert not any(kind.is_valid(text, page, SETTINGS) for text in ("3:ant", ":wasp", "ant", "2,0:ant", "unmarked"))
