"""Paper A rebuilt and questioned: `polyface reproduce fusion` (Li and Zhu 2016, arXiv 1610.04322; papers.md, section A).

    worlds    fusion_worlds      pictures of people with labels of several tasks: CelebA, Pins with voted groups, drawn people, a user's manifest
    splits    fusion_pictures    paper (after augmentation), image (before), person (disjoint people)
    networks  fusion_networks    four feature networks, trained separately; their features kept
    heads     fusion_heads       cross-task and fusion networks on frozen features
    tables    fusion_runs        Tables 1 and 2 of a split
    controls  fusion_controls    what a sceptic asks, and what the authors left as future work
    features  fusion_features    a user's own, fused with those of the networks
    strangers fusion_strangers   sets that share no person, and pairs of strangers
    verdicts  fusion_claims      H1, H2, H3 beside the paper's numbers, what the controls answer, with intervals (fusion_statistics)
    findings  fusion_findings    every number, and what must be known beside it
    page      fusion_page        one file with tables (fusion_tables) and figures (fusion_figures)

Everything is found again: a run that was cut off goes on where it was. `--only` takes a world (celeba, pins, drawn, strangers), a world and a split (celeba/image), a
network (celeba/image/gender, strangers/age), or `page`, which makes the page anew of the worlds that are done, trains nothing and names what it misses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from polyface import datasets
from polyface.errors import RequestError, nearest
from polyface.files import write_atomically
from polyface.papers import fusion_features, fusion_model, fusion_worlds
from polyface.papers.fusion_config import FusionConfig, SplitName, load
from polyface.papers.fusion_controls import Random, controls, heads_seconds, random_controls, speeds
from polyface.papers.fusion_features import Given
from polyface.papers.fusion_findings import World
from polyface.papers.fusion_networks import Progress, Say
from polyface.papers.fusion_page import write_page
from polyface.papers.fusion_pictures import IDENTITY, Pictures, check
from polyface.papers.fusion_runs import Bench, Tables, early_moment, strength_of, tables
from polyface.papers.fusion_strangers import TASKS, Sets, train_one
from polyface.papers.fusion_strangers import prepare as prepare_strangers
from polyface.papers.fusion_strangers import run as run_strangers
from polyface.runtime import processors

DONE = "done"
STRANGERS = "strangers"
PAGE_ALONE = ("page",)
"""What is asked where nothing is to be trained."""
SETS: Mapping[str, tuple[str, ...]] = {"celeba": ("celeba",), "pins": ("pins", "fairface"), STRANGERS: ("celeba", "utkface", "fairface", "rafdb")}
"""What has to be there for a world."""


@dataclass(frozen=True)
class Request:
    """What is asked, and where it goes. manifest: a user's own set, then the only world."""

    config: FusionConfig
    out: Path
    data: Path | None
    only: tuple[str, ...]
    features: Sequence[Given]
    manifest: Path | None
    say: Say
    progress: Progress | None

    @property
    def worlds(self) -> tuple[str, ...]:
        return (self.manifest.stem,) if self.manifest else self.config.worlds

    def wants(self, *names: str) -> bool:
        """Whether a world, split or network is among what is asked."""
        return all(asked == name for asked, name in zip(self.only, names, strict=False))

    def makes(self, name: str) -> bool:
        """Whether what a world lacks is trained: not for the page alone, nor in a world that is only on the page beside those that are asked for."""
        return self.only != PAGE_ALONE and self.wants(name)

    def folder(self) -> Path:
        return datasets.data_folder(self.data)


def reproduce(
    scale: str, out: Path, data: Path | None, only: str | None = None, features: Sequence[str] = (), manifest: Path | None = None, settings: Sequence[str] = (),
    say: Say = lambda words: None, progress: Progress | None = None,
) -> Path:  # fmt: skip
    """Run a scale, or a part of it; returns the page, or the folder where only a part was asked for that makes no page.

    Raises RequestError before anything is trained, of whichever world, for an unknown part, a set that is not there, labels that cannot be learned, features of other
    pictures. Only the groups of Pins are known no sooner than its voter, a network, has been trained.
    """
    config = load(scale, settings)
    request = Request(config, out, data, tuple(only.split("/")) if only else (), fusion_features.named(features), manifest, say, progress)
    _check(request)
    torch.set_num_threads(config.compute_threads or processors())
    asked = [name for name in request.worlds if request.makes(name)]
    pictures, sets = _prepare(request, asked)
    if len(request.only) > 1:
        _run_part(request, pictures)
        return out
    worlds: dict[str, World] = {}
    strangers = None
    there = (each for each in request.worlds if each not in asked and (out / each / DONE).exists())  # looked up last: parts may run side by side
    for name in chain(asked, there):
        if name == STRANGERS:
            strangers = run_strangers(sets or _sets_of_strangers(request), config, request.folder(), out / STRANGERS, say)
        else:
            worlds[name] = _world(_bench(request, name, pictures.get(name) or _pictures(request, name)))
        if name in asked:
            write_atomically(out / name / DONE, "")
    if not worlds and strangers is None:
        raise RequestError(f"{out}: no world is done yet, so there is nothing to put on a page; `--only WORLD` does one, with what is there of it")
    return write_page(out, config, [worlds[name] for name in request.worlds if name in worlds], strangers)


def _check(request: Request) -> None:
    """Names that are asked for exist."""
    known = (*request.worlds, *PAGE_ALONE)
    if request.only and request.only[0] not in known:
        raise RequestError(f"--only {request.only[0]}: no world of this scale{nearest(request.only[0], known)}")
    if request.only[:1] == PAGE_ALONE and len(request.only) > 1:
        raise RequestError(f"--only {'/'.join(request.only)}: nothing is under {PAGE_ALONE[0]}")
    strangers = request.only[:1] == (STRANGERS,)
    parts, named = (TASKS, "network of strangers") if strangers else ((*request.config.splits, "controls", "model"), "split of this scale")
    if len(request.only) > 1 and request.only[1] not in parts:
        raise RequestError(f"--only {'/'.join(request.only)}: no {named}{nearest(request.only[1], parts)}")
    if len(request.only) > (2 if strangers else 3):
        raise RequestError(f"--only {'/'.join(request.only)}: nothing is under {'/'.join(request.only[:-1])}")
    if request.features and request.worlds == (STRANGERS,):
        raise RequestError("--features are of pictures of a world, not of strangers")


def _prepare(request: Request, asked: Sequence[str]) -> tuple[dict[str, Pictures], Sets]:
    """The pictures of all worlds that are asked for, and the sets of strangers, made and checked before anything is trained. Those of Pins last: a network has to vote on
    them."""
    if request.only[:1] == (STRANGERS,) and len(request.only) > 1:
        return {}, {}  # one network looks for its own set itself
    for each in {each: None for name in asked for each in SETS.get(name, ()) if request.manifest is None}:
        datasets.find_root(request.folder(), each)
    sets = _sets_of_strangers(request) if STRANGERS in asked else {}
    pictures = {name: _pictures(request, name) for name in sorted(asked, key=lambda name: name == "pins") if name != STRANGERS}
    for made in pictures.values() if len(request.only) > 2 else ():
        known = (*made.tasks, *made.beside)
        if request.only[2] not in known:
            raise RequestError(f"--only {'/'.join(request.only)}: no network of this world{nearest(request.only[2], known)}")
    fusion_features.check_fit(request.features, list(pictures.values()))
    return pictures, sets


def _run_part(request: Request, pictures: Mapping[str, Pictures]) -> None:
    """A split of a world, its controls or its model; one network of a split, in all of its folds; one network of strangers."""
    name, part, *networks = request.only
    if name == STRANGERS:
        train_one(part, request.config, request.folder(), request.out / STRANGERS, request.say, request.progress)
        return
    bench = _bench(request, name, pictures[name])
    if networks:
        for split in bench.splits(part):  # type: ignore[arg-type]
            bench.own(split, networks[0])
        return
    if part == "controls":
        controls(bench, request.config.controls)
    elif part == "model":
        _model(bench)
    else:
        tables(bench, part)  # type: ignore[arg-type]


def _bench(request: Request, name: str, pictures: Pictures) -> Bench:
    """A world's pictures, what a user has of them beside, and the strength of their variation."""
    config, folder = request.config, request.out / name
    for note in pictures.notes if request.makes(name) else ():
        request.say(f"{name}: {note}")
    extra = fusion_features.fitting(request.features, pictures, config.variants)
    for each in request.features:
        if each.name not in extra:
            request.say(f"{name}: --features {each.name} is left out here: {each.lacks(pictures)} is not in it")
    strength = strength_of(pictures, config, folder, request.say, request.progress) if name == "drawn" else config.strength
    return Bench(pictures, config, folder, strength, request.say, request.progress, extra, make=request.makes(name))


def _pictures(request: Request, name: str) -> Pictures:
    """Of a world, found or made, and checked."""
    config, report, folder = request.config, request.progress, request.out / name
    made_from: object
    if request.manifest is not None:
        own = request.manifest
        made_from, make = fusion_worlds.manifest_text(own, request.folder()), lambda: fusion_worlds.manifest(own, config, request.folder(), report)
    elif name == "celeba":
        made_from, make = [name, config.celeba], lambda: fusion_worlds.celeba(config, request.folder(), report)
    elif name == "pins":
        made_from, make = [name, config.pins], lambda: fusion_worlds.pins(config, request.folder(), request.out, report)
    else:
        made_from, make = [name, [config.drawn.people, config.drawn.pictures, config.drawn.seed]], lambda: fusion_worlds.drawn(config, report)
    pictures = fusion_worlds.cached(folder, config, made_from, make)
    check(pictures)
    return pictures


def _sets_of_strangers(request: Request) -> Sets:
    return prepare_strangers(request.config, request.folder(), request.out / STRANGERS, request.say, request.progress, make=request.makes(STRANGERS))


def _world(bench: Bench) -> World:
    """Everything about a world, made or found; for the page alone only found, and what is not there is named on it."""
    config = bench.config
    found: dict[tuple[SplitName, str], Tables] = {}
    random: list[Random] = []
    missing: list[str] = []
    for split in config.splits:
        for moment in ("end", "early") if split == "paper" else ("end",):
            made = tables(bench, split, early=moment == "early")
            if made is not None:
                found[split, moment] = made
        dealt, lacking = random_controls(bench, split)
        random, missing = random + dealt, missing + lacking
    controlled, lacking = controls(bench, config.controls)
    published = bench.splits("paper")[0] if "paper" in config.splits else None
    model = _model(bench) if bench.make else bench.out / "model"
    lacking += [] if (model / "card.json").exists() else [f"{model}: not written"]
    return World(
        bench=bench,
        tables=found,
        random={(each.split, each.task): each for each in random},
        controls=controlled,
        model=model,
        moment=early_moment(bench.own(published, IDENTITY).curve)[1] if published is not None else "",
        missing=(*missing, *lacking),
        speeds=speeds(bench.out),
        heads_seconds=heads_seconds(bench.out),
    )


def _model(bench: Bench) -> Path:
    return fusion_model.write(bench, bench.config.controls, bench.out / "model")
