"""What does the attribute branch cost? Training pictures per second of the joint network, of identity alone on the same trunk, and of a plain loop, in one run.

    python benchmarks/joint.py [--scale small] [--data DIR] [--steps 60] [--rounds 3] [--set key=value ...]

Without --data people are drawn first. Joint and identity take turns, so that other work on the machine hits both; the best round of each counts. The aim: joint within
7 % of identity alone. The plain loop is what a user would write: a DataLoader with one worker that opens, resizes and flips PIL images, and steps of torch's AdamW on the
same joint network. Rates of another run or machine are not comparable; ratios are.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from train import Ready  # the benchmark beside this one

from polyface import tasks, terminal
from polyface.models.joint import Joint
from polyface.papers.joint_attributes import ALL, Attribute, PersonVotes, Voted
from polyface.papers.joint_config import STABLE, Drawn, JointRecipe, Pool, load
from polyface.papers.joint_plan import JointPlan
from polyface.papers.joint_runs import Bench, Row
from polyface.papers.joint_worlds import drawn_sets
from polyface.runtime import processors
from polyface.training import loop
from polyface.training.examples import Source


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        recipe, data = load(arguments.scale, arguments.set), arguments.data
        if data is None:
            data = drawn_sets(Drawn(people={"pins": (60, 6)}, sets=(("celeba", "celeba", 60, 6), ("lfw", "lfw", 8, 2))), Path(scratch) / "data")
            held_out = load("smoke")
            recipe = msgspec.structs.replace(recipe, data=(Pool(set="pins"), Pool(set="celeba")), probes=held_out.probes, validation=held_out.validation)
        torch.set_num_threads(recipe.compute_threads or processors())
        measure(recipe, data, arguments.steps, arguments.rounds)


def measure(recipe: JointRecipe, data: Path, steps: int, rounds: int) -> None:
    """Prints the table."""
    recipe = msgspec.structs.replace(recipe, joint=msgspec.structs.replace(recipe.joint, steps=steps))
    bench = Bench(recipe, Path(), data, terminal.say)
    bench.sources = sources = bench.worlds.recognition  # type: ignore[misc]
    bench.voted = _by_lot(sources)  # type: ignore[misc]
    plans = {kind: JointPlan(bench.lesson(Row(kind, kind, level, 1))) for kind, level in (("identity", ""), ("joint", "late"))}  # type: ignore[arg-type]
    ready = {kind: Ready(plan) for kind, plan in plans.items()}
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind, plan in plans.items():
            found.setdefault(f"{kind}, whole loop", []).append(_rate_of_loop(plan, recipe.joint.batch))
        for kind, each in ready.items():
            found.setdefault(f"{kind}, batches at hand", []).append(_rate_of_loop(each, recipe.joint.batch))
        plain = _plain(plans["joint"], sources, steps, recipe.joint.batch)
        if plain is not None:
            found.setdefault("joint, a plain loop with PIL images", []).append(plain)
    best = {what: max(rates) for what, rates in found.items()}
    against = best["identity, whole loop"]
    terminal.table([{"what": what, "pictures per second": round(rate), "of identity, whole loop": f"{rate / against:.0%}"} for what, rate in best.items()])
    kinds = ("whole loop", "batches at hand")
    print("; ".join(f"{kind}: joint at {best[f'joint, {kind}'] / best[f'identity, {kind}']:.1%} of identity alone" for kind in kinds))
    size, batch = recipe.crop.size, recipe.joint.batch
    print(f"{size} pixels, {batch} pictures a step, {steps} steps, best of {rounds} rounds, {processors()} processors, {recipe.threads} threads that prepare batches")


def _rate_of_loop(plan: Any, batch: int) -> float:
    """Between the first and the last step, so that neither start nor checkpoint counts."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        loop.run(plan, Path(folder), lambda step, steps, words: times.append(time.perf_counter()))
    return (len(times) - 1) * batch / (times[-1] - times[0])


def _plain(plan: JointPlan, sources: Sequence[Source], steps: int, batch: int) -> float | None:
    """Pictures per second; None without PIL."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        terminal.say("PIL is not installed, so the plain loop is not measured")
        return None
    lesson = plan.lesson
    items = [
        (example.record, source.space, source.people[str(example.record.labels[tasks.identity.name])]) for source in lesson.sources for example in source.examples.items
    ]
    spaces = sorted({space for _, space, _ in items})

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return steps * batch

        def __getitem__(self, at: int) -> tuple[torch.Tensor, int, int]:
            record, space, person = items[at % len(items)]
            image = Image.open(io.BytesIO(record.source.read())).convert("RGB").resize((lesson.crop.size, lesson.crop.size), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
            return torch.from_numpy(np.ascontiguousarray(pixels[:, ::-1]) if at % 2 else pixels.copy()), spaces.index(space), person

    model = Joint(lesson.network, lesson.tasks, lesson.people).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    times: list[float] = []
    traits = lesson.tasks[1].name
    for images, space, person in torch.utils.data.DataLoader(Pictures(), batch_size=batch, shuffle=True, num_workers=1):
        outputs = model(images)
        losses = [model.people.loss(outputs[tasks.identity.name][space == at], person[space == at], name).mean() for at, name in enumerate(spaces) if (space == at).any()]
        loss = torch.stack(losses).mean() + 0.1 * F.mse_loss(outputs[traits], torch.ones_like(outputs[traits]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter())
    return (len(times) - 1) * batch / (times[-1] - times[0])


def _by_lot(sources: Sequence[Source]) -> Voted:
    """Votes that nobody gave: what labels say costs nothing."""
    random, votes = np.random.default_rng(0), {}
    for source in sources:
        people = tuple(sorted({str(example.record.labels[tasks.identity.name]) for example in source.examples.items}))
        yes = random.integers(0, 2, (len(people), len(ALL.vocabulary)))
        votes[source.dataset.name] = PersonVotes(people, np.ones(len(people), np.int64), yes, yes.astype(np.int8))
    return Voted(votes, tuple(Attribute(name, {}, 0, 0, 0, name in STABLE, "") for name in ALL.vocabulary))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Joint, identity alone, and a plain loop.")
    parser.add_argument("--scale", default="small")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
