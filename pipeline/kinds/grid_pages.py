"""Pages of images that the current policy takes for one class, for the grid question (METHOD 7)."""

from __future__ import annotations

import torch
from torch import Tensor

LOW, HIGH = 0.25, 0.9  # a page teaches most where the policy is neither lost nor certain
TIE = 1e-6  # smaller differences of log-probabilities are decided at random


def informative(log_policy: Tensor) -> Tensor:
    """[N] whether the likeliest class of an image has a probability of 0.25 to 0.9."""
    best = log_policy.double().max(-1).values.exp()
    return (best >= LOW) & (best <= HIGH)


def fill_pages(
    rows: Tensor, count: int, tiles: int, log_policy: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Up to `count` pages [Q, tiles], each of the images of one most likely class that come first among ranked ones.

    Images go to the page of their class one after the other; a page is asked about when it is full. Images of a
    probability outside of 0.25 to 0.9 are passed over.

    Args:
        rows: [R] row numbers, the most valuable first; an image counts where it is first named.
        log_policy: [N, C].

    Returns:
        the pages, the class of each [Q], and the row numbers that are on none, the most valuable first.
    """
    ranked = torch.tensor(list(dict.fromkeys(rows.tolist())), dtype=torch.long)
    log_p = log_policy[ranked].double()
    label = (log_p + torch.rand(log_p.shape, generator=random, dtype=torch.float64) * TIE).argmax(-1)
    filling: dict[int, list[int]] = {}
    pages: list[Tensor] = []
    classes: list[int] = []
    fits = informative(log_p)
    for row, number in zip(ranked[fits].tolist(), label[fits].tolist(), strict=True):
        if len(pages) == count:
            break
        page = filling.setdefault(number, [])
        page.append(row)
        if len(page) == tiles:
            pages.append(torch.tensor(filling.pop(number))[torch.randperm(tiles, generator=random)])
            classes.append(number)
    shown = torch.stack(pages) if pages else ranked.new_empty(0, tiles)
    return shown, torch.tensor(classes, dtype=torch.long), ranked[~torch.isin(ranked, shown)]


def draw_pages(
    pool: Tensor, count: int, tiles: int, log_policy: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`count` pages of `tiles` images [count, tiles] and the class of each [count].

    Every image of the pool is on one page before any is on a second. A page's images have the page's class as their most
    likely one, as far as these fill pages; those left over join the pages of classes that are likely for them. Images of
    probability 0.25 to 0.9 are on the first pages of their class, and pages with the most of them come first. A larger
    count only appends pages.

    Args:
        pool: [P] row numbers.
        log_policy: [N, C].
    """
    tiles = min(tiles, len(pool))
    rows: list[Tensor] = []
    classes: list[int] = []
    while len(rows) < count:
        pages = _one_round(pool, tiles, log_policy[pool].double(), random)
        rows += [pool[places] for _, places in pages]
        classes += [label for label, _ in pages]
    return torch.stack(rows[:count]), torch.tensor(classes[:count])


def _one_round(pool: Tensor, tiles: int, log_p: Tensor, random: torch.Generator) -> list[tuple[int, Tensor]]:
    """Pages with every place of the pool, each once: class and places [tiles]; the last may repeat some."""
    noise = torch.rand(log_p.shape, generator=random, dtype=torch.float64) * TIE
    label, fits = (log_p + noise).argmax(-1), informative(log_p)
    order = torch.randperm(len(pool), generator=random)
    order = order[(~fits[order]).long().argsort(stable=True)]  # the informative ones first
    pages: list[tuple[int, Tensor]] = []
    left: dict[int, Tensor] = {}
    for number in torch.unique(label).tolist():
        own = order[label[order] == number]
        full = len(own) // tiles * tiles
        pages += [(number, page) for page in own[:full].split(tiles) if len(page)]
        if full < len(own):
            left[number] = own[full:]
    pages += _from_left_over(left, tiles, log_p, len(pool))
    shuffled = [pages[n] for n in torch.randperm(len(pages), generator=random).tolist()]
    shuffled = [(number, page[torch.randperm(tiles, generator=random)]) for number, page in shuffled]
    return sorted(shuffled, key=lambda page: -int(fits[page[1]].sum()))


def _from_left_over(left: dict[int, Tensor], tiles: int, log_p: Tensor, places: int) -> list[tuple[int, Tensor]]:
    """Pages from fewer images per class than a page has: the class with the most takes those likeliest of the others."""
    pages = []
    while left:
        number = max(left, key=lambda one: (len(left[one]), -one))
        own = left.pop(number)
        others = torch.cat([*left.values(), own[:0]])
        joined = _likeliest(others, number, tiles - len(own), log_p)
        left = {one: rest for one, some in left.items() if len(rest := some[~torch.isin(some, joined)])}
        page = torch.cat([own, joined])
        if len(page) < tiles:  # the last page: fill it with images of other pages
            rest = torch.arange(places)
            rest = rest[~torch.isin(rest, page)]
            page = torch.cat([page, _likeliest(rest, number, tiles - len(page), log_p)])
        pages.append((number, page))
    return pages


def _likeliest(places: Tensor, label: int, count: int, log_p: Tensor) -> Tensor:
    """The `count` of these places with the highest probability of a class."""
    return places[log_p[places, label].argsort(descending=True, stable=True)[:count]]
