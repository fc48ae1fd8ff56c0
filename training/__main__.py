"""Retrains the speaker embedder end to end: corpora -> features -> network -> compensated network -> ONNX, and its error rates.

    python3 -m training --speech <folder of corpora> --out <folder>
    python3 -m training --smoke

A run that was stopped goes on where it was: prepared features and checkpoints in --out are kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from . import corpora, evaluate, export, prepare, synthetic
from .compensation import compensate, write_compensated
from .dataset import Features
from .exported import read_network
from .networks import NETWORKS
from .package import write_package
from .speech import error_rates, made_of, save_head, train_head
from .train import Plan, train


TELEPHONE = "WUW Corpus II, real telephone calls, another call of the same person, cosine"


def recipe(
    speech: Path, out: Path, model_id: str, plan: Plan, start: Path | None, fine_tune_steps: int, speech_steps: int, versions: int, device: str
) -> None:
    """The whole recipe, from random weights or from those of `start`; prints error rates as it goes and writes the model package out/<model_id>."""
    features_folder = out / "features"
    if not (features_folder / "features.json").exists():
        prepare.prepare(speech, features_folder, versions)
    features = Features(features_folder)
    if features.versions != versions:
        raise ValueError(f"{features_folder} holds {features.versions} versions of all speech, not {versions}: delete it or choose another folder.")
    now = prepare.digests(speech)
    others = sorted(name for name in {*now, *features.made_of} if now.get(name) != features.made_of.get(name))
    if others:
        raise ValueError(f"{features_folder} was made of another {', '.join(others)} than is below {speech}: delete it or choose another folder.")
    head = out / "speech.pt"
    if head.exists() and torch.load(head).get("made of") != made_of(features, speech_steps):
        raise ValueError(f"{head} was made of other features or with other steps: delete it or choose another folder.")
    trained = out / "main" / "checkpoint.pt"
    train(plan, features_folder, trained.parent, start, device)
    if fine_tune_steps > 0:
        # A larger margin and longer crops at the end (Thienpondt et al., ICASSP 2021).
        fine = Plan(network=plan.network, steps=fine_tune_steps, rate=3e-4, margin=0.3, crop_seconds=(1.5, 5.0), seed=plan.seed + 1)
        finished, trained = trained, out / "fine" / "checkpoint.pt"
        train(fine, features_folder, trained.parent, finished, device)
    write_compensated(trained, features, out / "compensated.pt")
    if not head.exists():
        save_head(train_head(features, speech_steps), head, made_of(features, speech_steps))
    finish(speech, out, model_id)


def finish(speech: Path, out: Path, model_id: str) -> None:
    """The compensated network of a run as a checked model package, with its error rates."""
    trained = export.load_network(out / "compensated.pt")
    package = out / model_id
    package.mkdir(exist_ok=True)
    export.export(trained, package / "model.onnx")
    print(f"model.onnx: within {export.parity(trained, package / 'model.onnx'):.0e} of onnxruntime")
    head = export.load_head(out / "speech.pt")
    export.export(head, package / "speech.onnx")
    print(f"speech.onnx: within {export.parity(head, package / 'speech.onnx'):.0e} of onnxruntime")
    for name, rate in error_rates(head, Features(out / "features")).items():
        print(f"{name} {100 * rate:.1f} %")
    embed = evaluate.embedder(trained)
    rates = {"held-out speakers, pieces of 4 s": evaluate.held_out(embed, Features(out / "features"))}
    for corpus in corpora.TRAINING_CORPORA:
        measured = evaluate.whole_utterances(embed, speech / corpus, resamples=0)
        rates[evaluate.held_out_title(speech / corpus)] = {name: rate for name, (rate, _, _) in measured}
    if (speech / corpora.TELEPHONE / "index.tsv").exists():
        rates[TELEPHONE] = evaluate.telephone(embed, evaluate.telephone_calls(speech / corpora.TELEPHONE))
    for data, values in rates.items():
        print(f"{data}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in values.items()))
    write_package(package / "model.onnx", package / "speech.onnx", package, "python3 -m training --speech <folder> --out <folder>", rates)
    print(f"{package}: now make its cohort and calibration (voice-auth cohort --help, voice-auth calibrate --help)")


def smoke() -> None:
    """Everything on a small scale with synthetic voices, in a temporary folder; raises SystemExit when the network has not learned."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("making 64 synthetic voices", flush=True)
        synthetic.make_corpus(folder / "speech" / "synthetic", 64)
        prepare.prepare(folder / "speech", folder / "features", 3, speeds=(100,), names=("synthetic",))
        plan = Plan(network="tiny", steps=160, batch_seconds=120.0, crop_seconds=(1.5, 2.5), average=0.95, half=False)
        run = train(plan, folder / "features", folder / "run")
        network = compensate(run.averaged, Features(folder / "features"))
        rates = evaluate.held_out(evaluate.embedder(network), Features(folder / "features"))
        print({data: round(rate, 3) for data, rate in rates.items()})
        worst = max(rates.values())
        if not rates or worst > 0.25:
            raise SystemExit(f"The network has not learned: an equal error rate of {worst:.2f} where chance is 0.50.")
        head = train_head(Features(folder / "features"), 150, report=False, minutes_each=0.5)
        found = error_rates(head, Features(folder / "features"))
        print({data: round(rate, 3) for data, rate in found.items()})
        if found.get("speech, clean: missed", 1.0) + found.get("pauses, clean: found", 1.0) > 0.7:
            raise SystemExit("The speech detector has not learned: it does not tell speech from pauses.")
        export.export(network, folder / "model.onnx")
        print(f"exported: within {export.parity(network, folder / 'model.onnx'):.0e} of onnxruntime")
        export.export(head, folder / "speech.onnx")
        print(f"exported: within {export.parity(head, folder / 'speech.onnx'):.0e} of onnxruntime")
        write_package(folder / "model.onnx", folder / "speech.onnx", folder / "package", "python3 -m training --smoke", {"synthetic": rates})
        print(f"The networks have learned: the worst equal error rate is {100 * worst:.1f} % on voices it was not trained on (chance: 50 %).")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="folder of corpora: " + ", ".join(corpora.TRAINING_CORPORA))
    parser.add_argument("--out", type=Path, help="folder for features, checkpoints and the model; a stopped run goes on there")
    parser.add_argument("--id", default="phone-speaker", help="id of the model package that is written to --out (default %(default)s)")
    parser.add_argument("--network", choices=sorted(NETWORKS), default=Plan.network)
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="go on from a network that was trained before: an .onnx in float32 that this recipe wrote (models/<id>/float32.onnx), or a checkpoint of the same voices",
    )
    parser.add_argument("--steps", type=int, default=Plan.steps, help="training steps (default %(default)s)")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="learning rate at its highest (default %(default)s)")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="what batches and distortions are drawn with (default %(default)s)")
    parser.add_argument(
        "--fine-tune-steps",
        type=int,
        default=0,
        help="steps with longer crops and a larger margin after them (default %(default)s: in the last full run 300 made other calls of the same person worse, 12.2 instead of 12.0 %% EER)",
    )
    parser.add_argument("--speech-steps", type=int, default=12000, help="training steps of the speech detector (default %(default)s)")
    parser.add_argument("--versions", type=int, default=3, help="versions of all speech: one clean, the others through simulated calls (default 3)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--smoke", action="store_true", help="a quick check with synthetic voices; needs espeak-ng, no corpora")
    options = parser.parse_args()
    if options.smoke:
        smoke()
        return
    if options.speech is None or options.out is None:
        parser.error("--speech and --out are needed (or --smoke)")
    missing = [name for name in corpora.TRAINING_CORPORA if not (options.speech / name / "index.tsv").exists()]
    if missing:
        print(f"Nothing trained: {options.speech} has no {', '.join(missing)}.", file=sys.stderr)
        raise SystemExit(2)
    # Before half an hour of preparation.
    if options.start is not None:
        try:
            if not options.start.is_file():
                raise ValueError(f"there is no {options.start}.")
            if options.start.suffix == ".onnx":
                read_network(options.start)
        except ValueError as error:
            print(f"Nothing trained: {error}", file=sys.stderr)
            raise SystemExit(2) from error
    recipe(
        options.speech,
        options.out,
        options.id,
        Plan(network=options.network, steps=options.steps, rate=options.rate, seed=options.seed),
        options.start,
        options.fine_tune_steps,
        options.speech_steps,
        options.versions,
        options.device,
    )


if __name__ == "__main__":
    main()
