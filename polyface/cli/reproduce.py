"""`polyface reproduce ...`"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from polyface.cli.options import Data

app = App(name="reproduce", help="Experiments and papers, rebuilt from their recipes to their tables.", sort_key=9)


@app.command(name="transfer", sort_key=1)
def reproduce_transfer(
    *,
    scale: Annotated[Literal["smoke", "small"], Parameter(help="smoke: drawn people, a minute; small: real sets, three hours.", show_default=True)] = "smoke",
    only: Annotated[str | None, Parameter(help="Only this part (screen, seeds, grain, long), or this run by its name.")] = None,
    data: Data = None,
    out: Annotated[Path | None, Parameter(help="Where runs and the page go; runs that are done there stay done. runs/transfer-<scale> where nothing is said.")] = None,
) -> None:
    """What tasks gain or lose from each other, and what coarse labels give: run after run, then one page with tables and heat maps."""
    from polyface import terminal
    from polyface.papers import transfer, transfer_page

    folder = out or Path("runs") / f"transfer-{scale}"
    with terminal.progress("runs") as report:
        findings = transfer.reproduce(scale, data, folder, only, report)
    terminal.table(transfer_page.verdict_rows(findings.verdicts))
    for line in transfer_page.sentences(findings):
        print(line)
    print(folder / transfer.PAGE)


@app.command(name="interaction", sort_key=1)
def reproduce_interaction(
    *,
    scale: Annotated[Literal["smoke", "small"], Parameter(help="smoke: drawn people; small: real sets, fifteen runs of minutes each.", show_default=True)] = "smoke",
    only: Annotated[str | None, Parameter(help="Only this arm (none, fusion, wider-fusion, feedback, wider-feedback), or this run by its name (feedback-seed1).")] = None,
    data: Data = None,
    out: Annotated[Path | None, Parameter(help="Where runs and the page go; runs that are done there stay done. runs/interaction-<scale> where nothing is said.")] = None,
) -> None:
    """What a network of all tasks gains when these see each other's answers, beside one of as many multiplications, and what that costs."""
    from polyface import terminal
    from polyface.papers import interaction, transfer_page

    folder = out or Path("runs") / f"interaction-{scale}"
    with terminal.progress("runs") as report:
        found = interaction.reproduce(scale, data, folder, only, report)
    terminal.table(transfer_page.verdict_rows(found))
    print(folder / interaction.PAGE)


@app.command(name="fusion", sort_key=2)
def reproduce_fusion(
    *,
    scale: Annotated[
        Literal["smoke", "small", "paper"],
        Parameter(help="smoke: drawn people, a minute; small: an hour a world; paper: 20,000 iterations of 200, all networks.", show_default=True),
    ] = "smoke",
    only: Annotated[
        str | None, Parameter(help="Only a world (celeba, pins, drawn, strangers), a split (celeba/image), a network (celeba/image/gender, strangers/age), or page.")
    ] = None,
    data: Data = None,
    features: Annotated[tuple[str, ...], Parameter(help="Features of your own to fuse, as name=E.npz with keys [N] and features [N, d]; may be repeated.")] = (),
    manifest: Annotated[Path | None, Parameter(help="A set of your own, as the only world.")] = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", help="Change a value of the recipe, as key=value; may be repeated.")] = (),
    out: Annotated[Path | None, Parameter(help="Where networks and the page go; what is done there stays done. runs/fusion-<scale> where nothing is said.")] = None,
) -> None:
    """Li and Zhu 2016: features learned for one task used for others, and fused; every table and figure, in honest splits too, with a verdict for every claim."""
    from polyface import terminal
    from polyface.papers import fusion

    with terminal.progress("steps") as report:
        print(fusion.reproduce(scale, out or Path("runs") / f"fusion-{scale}", data, only, features, manifest, settings, terminal.say, report))


@app.command(name="ifan", sort_key=3)
def reproduce_ifan(
    *,
    scale: Annotated[
        Literal["smoke", "small", "paper"],
        Parameter(help="smoke: drawn people, a minute; small: half of every width, 64 pixels, two hours and a quarter; paper: 128 pixels, for a GPU.", show_default=True),
    ] = "smoke",
    only: Annotated[
        str | None, Parameter(help="Only a part (ablation, controls, fed, hybrid, drawn, seeds, plug, whole), a row by its name (feedback-3), or page.")
    ] = None,
    data: Data = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", help="Change a value of the recipe, as key=value; may be repeated.")] = (),
    out: Annotated[Path | None, Parameter(help="Where rows and the page go; what is done there stays done. runs/ifan-<scale> where nothing is said.")] = None,
) -> None:
    """Li et al. 2017: tasks that see each other's predictions, trained on sets with disjoint labels: the ablation row by row, and its controls."""
    from polyface import terminal
    from polyface.papers import ifan, ifan_claims, ifan_page

    folder = out or Path("runs") / f"ifan-{scale}"
    with terminal.progress("steps") as report:
        found = ifan.reproduce(scale, folder, data, only, settings, terminal.say, report)
    for verdict, claim, lines in ifan_claims.sentences(found):
        print(f"{verdict}: {claim}", *lines, sep="\n  ")
    print(ifan_claims.counted(found))
    print(folder / ifan_page.PAGE)


@app.command(name="joint", sort_key=4)
def reproduce_joint(
    *,
    scale: Annotated[
        Literal["smoke", "small", "paper"],
        Parameter(help="smoke: drawn people, a minute; small: 64 pixels, Pins and CelebA, a hundred minutes; paper: 112 pixels, for a GPU.", show_default=True),
    ] = "smoke",
    only: Annotated[str | None, Parameter(help="Only a row by its name (joint-late), votes (the labels of people, and no row), or page.")] = None,
    data: Data = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", help="Change a value of the recipe, as key=value; may be repeated.")] = (),
    out: Annotated[Path | None, Parameter(help="Where rows and the page go; what is done there stays done. runs/joint-<scale> where nothing is said.")] = None,
) -> None:
    """Wang et al. 2017: who it is and what they look like, learned together; against each alone, by branch level, and against attributes shuffled between people."""
    from polyface import terminal
    from polyface.papers import joint, joint_page

    folder = out or Path("runs") / f"joint-{scale}"
    with terminal.progress("steps") as report:
        judged = joint.reproduce(scale, folder, data, only, settings, terminal.say, report)
    for each in judged:
        print(each.in_words())
    print(folder / (joint_page.PAGE if judged else "votes"))
