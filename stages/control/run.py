"""`make rounds` of a control task: pre-train, then ask, train the reward model and train the agent, round by round.

A round is the unit of resuming: everything is saved at its end, and an interrupted round is done again, with the same
random numbers, from the answers that are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch

from feedback_store.store import FeedbackStore
from pipeline.config import load_settings
from pipeline.control.config import ControlConfig
from pipeline.control.env_states import Renderer
from pipeline.control.extra import require_extra
from pipeline.control.questions import questions
from pipeline.control.segments import save_segments
from pipeline.errors import UserError
from pipeline.learning.round_schedule import batches_of, questions_of_rounds
from pipeline.run.atomic_files import write_atomically
from pipeline.run.rounds_file import write_rounds
from pipeline.run.run_folder import RunFolder, StageFolder
from pipeline.run.runtime import start
from pipeline.run.settings_hash import settings_hash
from pipeline.run.stage_lock import one_process
from stages.control.ask import choose, refuse_other_rounds, simulate, store_answers
from stages.control.draw_clips import draw_clips
from stages.control.fit import FittedReward, fit, read_judgments
from stages.control.learner import PreferenceLearner, Row

Announce = Callable[[str], object]
AskPeople = Callable[..., None]  # `stages.control.ask_page.ask_people`, with the page


def run(config: ControlConfig, announce: Announce, ask_people: AskPeople | None = None) -> dict[str, Any]:
    """Learn from preferences, and with `baseline.true_reward` from the true reward, too; returns result.json.

    Raises:
        UserError: settings that contradict each other or the environment, or a missing package.
    """
    require_extra()
    start(config.runtime)
    if config.runtime.threads is None:
        torch.set_num_threads(1)  # the networks are small; a sum must not depend on the number of cores
    result = learn_from_preferences(config, announce, ask_people)
    if config.baseline.true_reward:
        result = result | {"true_reward": learn_from_true_reward(config, announce)["true_return"]}
    return result


def question_counts(config: ControlConfig) -> list[int]:
    """Questions of each round."""
    settings = config.rounds
    if settings.batches is not None:
        total = config.collect.count if "count" in config.collect.model_fields_set else None
        return batches_of(settings.batches, None, total)
    return questions_of_rounds(config.collect.count, settings.count, settings.schedule, settings.initial_share)


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on, as inputs of the stage."""
    import gymnasium
    import stable_baselines3

    return {"gymnasium": gymnasium.__version__, "stable_baselines3": stable_baselines3.__version__}


@one_process("rounds")
def learn_from_preferences(
    config: ControlConfig, announce: Announce, ask_people: AskPeople | None = None
) -> dict[str, Any]:
    """Write runs/<name>/rounds/: rounds.csv, policy.zip, reward.pt and result.json, unless they are up to date."""
    if config.collect.teacher not in ("simulated", "people") or (config.collect.teacher == "people" and not ask_people):
        raise UserError(f"collect.teacher: {config.collect.teacher} cannot answer about control tasks; use simulated")
    if config.collect.teacher == "people":
        check_people(config)
    folder, inputs, counts = RunFolder(config).stage("rounds"), versions(), question_counts(config)
    if folder.is_current(inputs):
        return RunFolder(config).read("rounds", "result.json")
    store = RunFolder(config).open_store()
    refuse_other_settings(config, store, folder)
    folder.begin()
    learner, runtime = PreferenceLearner(config), start(config.runtime)
    checkpoints = folder.checkpoints(inputs, "round", runtime)
    with folder.metrics(inputs, runtime) as metrics, checkpoints:
        if saved := checkpoints.latest():
            learner.restore(saved)
            metrics.resume(learner.rows)
        if learner.next_round < 0:
            learner.pretrain()
            checkpoints.offer(0, learner.state)
            checkpoints.write()
        for number in range(learner.next_round, len(counts)):
            fitted = ask_and_fit(config, learner, store, counts[number], announce, ask_people)
            learner.use(fitted)
            learner.learn(len(counts))
            learner.rows.append(row_of(config, learner, store, fitted))
            metrics.add(**learner.rows[-1])
            write_rounds(config.runs / config.name, pd.DataFrame(learner.rows))
            learner.next_round = number + 1
            checkpoints.offer(number + 1, learner.state)
            checkpoints.write()
            announce(line(learner.rows[-1], config.seed))
        write_rounds(config.runs / config.name, pd.DataFrame(learner.rows))
    outputs = ["rounds.csv", *learner.save(folder.path)]
    learner.trainer.close()
    result = finish(folder, inputs, outputs, learner)
    checkpoints.clear()
    return result


def refuse_other_settings(config: ControlConfig, store: FeedbackStore, folder: StageFolder) -> None:
    """Raise UserError if the run has simulated answers of other settings; they would be trained on, too."""
    saved = folder.path / "config.yaml"
    if config.collect.teacher == "people" or not saved.is_file() or store.is_empty():
        return
    if settings_hash(load_settings(ControlConfig, saved), folder.name) != folder.settings:
        raise UserError(
            f"{folder.path}: this run was made with other settings (its config.yaml); set another name for a new run, or "
            f"remove {config.runs / config.name}"
        )


def check_people(config: ControlConfig) -> None:
    """Raise UserError if people cannot be asked these questions: before the agent spends time on its first steps."""
    if questions.get(config.collect.question).segments != 2:
        raise UserError(
            f"collect.question: the page has no {config.collect.question}; use clip_comparison, or collect.teacher: simulated"
        )
    Renderer(config.environment).close()


def ask_and_fit(
    config: ControlConfig,
    learner: PreferenceLearner,
    store: FeedbackStore,
    count: int,
    announce: Announce,
    ask_people: AskPeople | None,
) -> FittedReward:
    """Ask the questions of the next round, and train the reward model on all answers."""
    number, segments = learner.next_round, config.runs / config.name / "segments"
    pool, true = learner.trainer.recorder.pool()
    asked = choose(config, pool, number, count, learner.ensemble)
    if config.collect.teacher == "people":
        assert ask_people is not None
        ids = draw_clips(config, asked)
        save_segments(asked.segments, ids, segments)
        ask_people(config, [(one[0], one[-1]) for one in asked.clips(ids)], store, announce, round=number)
    else:
        ids = asked.segments.ids()
        refuse_other_rounds(config, store, asked.clips(ids), number)
        save_segments(asked.segments, ids, segments)
        answers = simulate(config, asked, pool, true, number=number, span=learner.returns)
        store_answers(config, store, asked.clips(ids), answers, number)
    judgments = read_judgments(config, store, segments, number)
    return fit(config, judgments, learner.trainer.spaces, number)


def row_of(config: ControlConfig, learner: PreferenceLearner, store: FeedbackStore, fitted: FittedReward) -> Row:
    """The row of rounds.csv."""
    frame = questions.get(config.collect.question).rows(store)
    answered = frame[frame["round"].astype(int) <= learner.next_round]
    return {
        **learner.measure(),
        "answers": len(answered),
        "heldout": fitted.heldout,
        "heldout_accuracy": fitted.agreement,
        "heldout_log_loss": fitted.log_loss,
        "epochs": max(fitted.epochs),
    }


@one_process("true_reward")
def learn_from_true_reward(config: ControlConfig, announce: Announce) -> dict[str, Any]:
    """The same agent on the true reward, with as many steps, measured as often: runs/<name>/true_reward/."""
    folder, inputs, rounds = RunFolder(config).stage("true_reward"), versions(), len(question_counts(config))
    if folder.is_current(inputs):
        return RunFolder(config).read("true_reward", "result.json")
    folder.begin()
    learner, runtime = PreferenceLearner(config, learned=False), start(config.runtime)
    checkpoints = folder.checkpoints(inputs, "round", runtime)
    with folder.metrics(inputs, runtime) as metrics, checkpoints:
        if saved := checkpoints.latest():
            learner.restore(saved)
            metrics.resume(learner.rows)
        if learner.next_round < 0:
            learner.pretrain()
        for number in range(learner.next_round, rounds):
            learner.learn(rounds)
            learner.rows.append(learner.measure())
            metrics.add(**learner.rows[-1])
            learner.next_round = number + 1
            checkpoints.offer(number + 1, learner.state)
            checkpoints.write()
    write_atomically(folder.path / "rounds.csv", pd.DataFrame(learner.rows).to_csv(index=False).encode())
    outputs = ["rounds.csv", *learner.save(folder.path)]
    learner.trainer.close()
    result = finish(folder, inputs, outputs, learner)
    checkpoints.clear()
    announce(f"seed {config.seed}, learning from the true reward: true return {result['true_return']:.1f}")
    return result


def finish(
    folder: StageFolder, inputs: dict[str, str], outputs: Sequence[str], learner: PreferenceLearner
) -> dict[str, Any]:
    """Write result.json and the manifest."""
    last = learner.rows[-1]
    names = ("true_return", "steps", "answers", "heldout_accuracy", "heldout_log_loss")
    result = {name: last[name] for name in names if name in last} | {"random_return": learner.random_return}
    folder.finish(inputs, outputs, result)
    return result


def line(row: Row, seed: int) -> str:
    """One round for the terminal."""
    agreement = "" if row["heldout_accuracy"] is None else f", held-out agreement {row['heldout_accuracy']:.1%}"
    return (
        f"seed {seed}, round {row['round']}    {row['answers']} answers, {row['steps']} steps{agreement}, "
        f"true return {row['true_return']:.1f}"
    )
