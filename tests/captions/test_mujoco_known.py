"""Which environments get the captioner of MuJoCo's robots, and what their rules say."""

import inspect
import json
import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.wrappers import vector as vector_wrappers

import llm_wrappers as lw
from llm_wrappers.captions import Captioner
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.mujoco.captioner import MujocoCaptioner
from llm_wrappers.wrappers import vector

pytest.importorskip("mujoco")

from mujoco_helpers import ROBOTS

SIZES = {"Hopper-v5": 11, "Walker2d-v5": 17, "Ant-v5": 105}
BONES = {"thigh": "hip", "leg": "knee", "foot": "ankle"}
ANT_LEGS = {"1": "front left", "2": "back left", "3": "back right", "4": "front right"}


@pytest.fixture(params=ROBOTS)
def env(request):
    env = gym.make(request.param)
    yield env
    env.close()


def name_of(joint):
    """Return our name of a joint of the simulator, such as "left hip" of thigh_left_joint."""
    if joint[-1].isdigit():
        return f"{ANT_LEGS[joint[-1]]} {joint[:-2]}"
    bone, *side = joint.removesuffix("_joint").split("_")
    return " ".join([*side, BONES[bone]])


class TestIndices:
    def test_joints_are_where_the_simulator_has_them(self, env):
        model, captioner = env.unwrapped.model, MujocoCaptioner(env.spec.id)
        skipped = env.unwrapped.observation_structure["skipped_qpos"]
        observation = np.zeros(SIZES[env.spec.id])
        (still,) = captioner.facts(observation[None], {})
        for actuator in range(model.nu):
            joint = model.joint(model.actuator_trnid[actuator, 0])
            name = name_of(joint.name)
            fact = name if env.spec.id != "Walker2d-v5" or "left" in name else f"right {name}"
            fact = fact.replace(" ", "_")
            for at, measured in (
                (joint.qposadr[0] - skipped, "angle_deg"),
                (model.nq - skipped + joint.dofadr[0], "velocity_deg_per_s"),
            ):
                moved = observation.copy()
                moved[at] = 0.5
                (facts,) = captioner.facts(moved[None], {})
                changed = {key for key in facts if facts[key] != still[key]}
                assert changed == {f"{fact}_{measured}"}
            action = np.zeros(model.nu)
            action[actuator] = 1.0
            (told,) = captioner.transition_captions([still], [action], [still])
            assert re.match(rf"{fact.replace('_', ' ')} \w+ 1\.00: nothing changed$", told)

    def test_rules_name_the_joints_in_the_order_of_the_action(self, env):
        model = env.unwrapped.model
        names = [name_of(model.joint(j).name) for j in model.actuator_trnid[:, 0]]
        if env.spec.id == "Walker2d-v5":
            names = [name if "left" in name else f"right {name}" for name in names]
        rules = resolve_captioner(env).description.rules
        assert f"at these joints: {', '.join(names)}." in rules
        assert f"of {model.actuator_gear[0, 0]:g} N m" in rules
        assert f"is {model.nu} torques from -1 to 1" in rules


class TestRules:
    def test_defaults_are_gymnasiums(self, env):
        own = inspect.signature(type(env.unwrapped).__init__).parameters
        given = {name: p.default for name, p in own.items() if p.default is not p.empty}
        spoken = {"xml_file", "main_body", "default_camera_config", "reset_noise_scale"}
        for name, default in given.items():
            if name not in spoken and not name.startswith(("exclude", "include")):
                same = MujocoCaptioner(env.spec.id, settings={name: default})
                assert same.description == MujocoCaptioner(env.spec.id).description

    def test_numbers_are_the_environments(self, env):
        base, rules = env.unwrapped, resolve_captioner(env).description.rules
        assert f"A step lasts {base.dt:g} s." in rules
        assert f"earns {base._forward_reward_weight:g} times the velocity along x" in rules
        assert f"plus {base._healthy_reward:g} within the limits" in rules
        assert f"minus {base._ctrl_cost_weight:g} times the sum of the squared torques" in rules
        low, high = base._healthy_z_range
        limits = f"above {low:g} m" if np.isinf(high) else f"between {low:g} and {high:g} m"
        assert f"the height of the torso {limits}" in rules
        assert rules.endswith(f"outside of its limits or after {env.spec.max_episode_steps} steps.")

    def test_the_reward_of_the_rules_is_the_one_that_is_paid(self, env):
        captioner = resolve_captioner(env)
        rules = captioner.description.rules
        pattern = r"([\d.]+) times the velocity.*?plus ([\d.]+) within.*?minus ([\d.]+) times the"
        speed, alive, effort = map(float, re.search(pattern, rules).groups())
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(20):
            action = env.action_space.sample()
            observation, reward, terminated, _, info = env.step(action)
            (facts,) = captioner.facts(observation[None], {})
            told = speed * info["x_velocity"] + alive * facts["within_limits"]
            told -= effort * np.sum(np.square(action)) + facts.get("contact_cost", 0.0)
            assert reward == pytest.approx(told, abs=1e-6)
            if terminated:
                break

    def test_ranges_of_the_joints_are_the_models(self, env):
        model, rules = env.unwrapped.model, resolve_captioner(env).description.rules
        ranges = {
            model.joint(j).name: np.degrees(model.jnt_range[j]).round().tolist()
            for j in model.actuator_trnid[:, 0]
        }
        if env.spec.id == "Ant-v5":
            assert {tuple(r) for name, r in ranges.items() if name.startswith("hip")} == {(-30, 30)}
            ankles = {name: r for name, r in ranges.items() if name.startswith("ankle")}
            downs = ([30, 70], [-70, -30], [-70, -30], [30, 70])
            assert ankles == dict(zip(sorted(ankles), downs, strict=True))
            assert "A hip swings up to 30 degrees back or forward" in rules
            assert "an ankle is 30 to 70 degrees down" in rules
        else:
            wanted = {"hip": [-150, 0], "knee": [-150, 0], "ankle": [-45, 45]}
            for name, found in ranges.items():
                assert found == wanted[name_of(name).split()[-1]]
            assert "thigh swings up to 150 degrees back, the knee bends up to 150" in rules

    def test_settings_are_told(self):
        env = gym.make(
            "Ant-v5", ctrl_cost_weight=0.25, frame_skip=10, healthy_z_range=(0.3, np.inf),
            terminate_when_unhealthy=False, contact_force_range=(-2, 3), max_episode_steps=70,
            render_mode="rgb_array", reset_noise_scale=0.2,
        )  # fmt: skip
        rules = resolve_captioner(env).description.rules
        env.close()
        assert "A step lasts 0.1 s." in rules
        assert "minus 0.25 times the sum" in rules
        assert "clipped to -2..3. The limits: the height of the torso above 0.3 m." in rules
        assert rules.endswith("The episode ends after 70 steps.")
        endless = {"terminate_when_unhealthy": False, "healthy_z_range": (-np.inf, np.inf)}
        captioner = MujocoCaptioner("Hopper-v5", settings=endless, steps=None)
        assert "the height of the torso at any value" in captioner.description.rules
        assert captioner.description.rules.endswith("The episode does not end by itself.")
        facts = captioner.facts(np.zeros((1, 11)), {})
        assert captioner.state_captions(facts)[0].startswith("The torso is 0.00 m high, and stands")


class TestWhoSpeaks:
    def test_by_id(self, env):
        captioner = resolve_captioner(env)
        assert isinstance(captioner, MujocoCaptioner)
        assert isinstance(captioner, Captioner)
        assert captioner.description.env_id == env.spec.id
        assert captioner.description.action_names == ()

    @pytest.mark.parametrize(
        "wrap",
        [
            wrappers.FlattenObservation,
            wrappers.RecordEpisodeStatistics,
            wrappers.NormalizeReward,
            lambda env: wrappers.TimeLimit(env, 30),
        ],
        ids=["flatten", "statistics", "reward", "limit"],
    )
    def test_behind_wrappers_that_leave_observations_alone(self, wrap):
        env = wrap(gym.make("Hopper-v5"))
        assert isinstance(resolve_captioner(env), MujocoCaptioner)
        env.close()

    def test_the_shortest_time_limit_counts_and_without_one_there_is_none(self):
        env = wrappers.TimeLimit(gym.make("Hopper-v5"), 30)
        assert resolve_captioner(env).description.rules.endswith("or after 30 steps.")
        rules = resolve_captioner(env.unwrapped).description.rules
        assert rules.endswith("The episode ends outside of its limits.")
        env.close()

    @pytest.mark.parametrize(
        ("env_id", "options"),
        [
            ("Hopper-v4", {}),
            ("Ant-v4", {}),
            ("Ant-v4", {"use_contact_forces": True}),
            ("InvertedPendulum-v5", {}),
            ("Hopper-v5", {"exclude_current_positions_from_observation": False}),
            ("Ant-v5", {"exclude_current_positions_from_observation": False}),
            ("Ant-v5", {"include_cfrc_ext_in_observation": False}),
            ("Ant-v5", {"contact_force_range": (0.5, 1.0)}),
            ("Ant-v5", {"main_body": 2}),
            ("Walker2d-v5", {"xml_file": "walker2d.xml"}),
        ],
    )
    def test_another_layout_or_model_gets_the_generic_one(self, env_id, options):
        with warnings.catch_warnings():
            # Gymnasium says that version 4 is out of date.
            warnings.simplefilter("ignore")
            env = gym.make(env_id, **options)
        captioner = resolve_captioner(env)
        assert isinstance(captioner, GenericCaptioner)
        assert captioner.description.env_id == env_id
        env.close()

    @pytest.mark.parametrize(
        "wrap",
        [
            wrappers.NormalizeObservation,
            lambda env: wrappers.TransformObservation(env, np.negative, env.observation_space),
            lambda env: wrappers.FrameStackObservation(env, 2),
            lambda env: wrappers.RescaleAction(env, np.float32(-2), np.float32(2)),
            lambda env: wrappers.TransformAction(env, np.negative, env.action_space),
        ],
        ids=["normalised", "negated", "stacked", "rescaled", "torques"],
    )
    def test_changed_numbers_are_refused(self, wrap):
        env = wrap(gym.make("Hopper-v5"))
        with pytest.raises(IncompatibleEnvironmentError, match="Hopper-v5 is described"):
            resolve_captioner(env)
        env.close()

    @pytest.mark.parametrize("mode", ["sync", "async"])
    def test_vector_environments(self, mode):
        envs = gym.make_vec(
            "Walker2d-v5", num_envs=2, vectorization_mode=mode, healthy_z_range=(0.9, 1.9),
            max_episode_steps=40,
        )  # fmt: skip
        captioner = resolve_captioner(envs)
        observations, infos = envs.reset(seed=0)
        first, second = captioner.facts(observations, infos)
        envs.close()
        assert isinstance(captioner, MujocoCaptioner)
        assert first["torso_height_margin_m"] == pytest.approx(observations[0, 0] - 0.9)
        assert second["torso_height_m"] == observations[1, 0]
        assert captioner.description.rules.endswith("outside of its limits or after 40 steps.")

    def test_vector_environments_that_change_numbers(self):
        envs = gym.make_vec("Hopper-v5", num_envs=2, vectorization_mode="sync")
        same = envs.single_observation_space
        negated = vector_wrappers.TransformObservation(
            envs, np.negative, envs.observation_space, same
        )
        assert negated.single_observation_space == same
        with pytest.raises(IncompatibleEnvironmentError, match=r"^TransformObservation changes"):
            resolve_captioner(negated)
        envs.close()

    def test_what_wraps_environments_in_other_processes_is_not_guessed(self):
        envs = gym.make_vec(
            "Hopper-v5", num_envs=1, vectorization_mode="async", max_episode_steps=-1
        )
        rules = resolve_captioner(envs).description.rules
        envs.close()
        assert rules.endswith("The episode ends outside of its limits.")
        envs = gym.make_vec(
            "Hopper-v5", num_envs=1, vectorization_mode="async",
            wrappers=[wrappers.RecordEpisodeStatistics],
        )  # fmt: skip
        captioner = resolve_captioner(envs)
        envs.close()
        assert isinstance(captioner, GenericCaptioner)

    def test_sub_environments_that_change_numbers(self):
        def make():
            env = gym.make("Hopper-v5")
            return wrappers.TransformObservation(env, np.negative, env.observation_space)

        envs = gym.vector.SyncVectorEnv([make])
        with pytest.raises(IncompatibleEnvironmentError, match=r"^TransformObservation changes"):
            resolve_captioner(envs)
        envs.close()


class TestRecorded:
    def test_episodes_are_recorded_in_words_one_and_many(self):
        env = lw.wrappers.TrajectoryRecorder(gym.make("Hopper-v5"), max_episodes=1)
        observation, _ = env.reset(seed=0)
        over = False
        while not over:
            observation, _, terminated, truncated, _ = env.step(np.ones(3, np.float32))
            over = terminated or truncated
        (trajectory,) = env.trajectories()
        assert trajectory.facts[-1]["torso_height_m"] == observation[0]
        assert "It is outside of its limits." in trajectory.captions[-1]
        assert "left its limits" in trajectory.transition_captions[-1]
        json.loads(trajectory.text(), parse_constant=pytest.fail)
        env.close()
        envs = gym.make_vec("Hopper-v5", num_envs=2, vectorization_mode="sync")
        envs = vector.TrajectoryRecorder(envs, max_episodes=1)
        envs.reset(seed=[0, 1])
        while not envs.trajectories():
            envs.step(np.ones((2, 3), np.float32))
        assert envs.trajectories()[0].captions == trajectory.captions
        envs.close()


class TestErrors:
    def test_what_cannot_be_is_refused(self):
        with pytest.raises(UnknownNameError, match=r"one of Hopper-v5, .*got 'Hopper-v4'"):
            MujocoCaptioner("Hopper-v4")
        with pytest.raises(InvalidOptionError, match=r"among \['ctrl_cost_weight', .*got 'xml_fi"):
            MujocoCaptioner("Hopper-v5", settings={"xml_file": "mine.xml"})
        with pytest.raises(InvalidOptionError, match=r"include_cfrc.* must be True, got False"):
            MujocoCaptioner("Ant-v5", settings={"include_cfrc_ext_in_observation": False})
        with pytest.raises(InvalidOptionError, match=r"contact_force_range must have 0 inside"):
            MujocoCaptioner("Ant-v5", settings={"contact_force_range": (0.1, 1.0)})
        with pytest.raises(
            InvalidOptionError, match=r"steps must be a whole number >= 1, or None .*got 0"
        ):
            MujocoCaptioner("Ant-v5", steps=0)

    @pytest.mark.parametrize("limits", [3, (2.0, 1.0), (0.7,), ("low", "high"), None], ids=repr)
    def test_limits_that_are_no_range_are_refused(self, limits):
        with pytest.raises(InvalidOptionError, match="must be a lower and a higher limit, got"):
            MujocoCaptioner("Hopper-v5", settings={"healthy_z_range": limits})

    @pytest.mark.parametrize("env_id", ROBOTS)
    def test_observations_and_actions_of_another_shape(self, env_id):
        captioner = MujocoCaptioner(env_id)
        with pytest.raises(InvalidOptionError, match=rf"\(n, {SIZES[env_id]}\), got \(27,\)"):
            captioner.facts(np.zeros(27), {})
        facts = captioner.facts(np.zeros((1, SIZES[env_id])), {})
        with pytest.raises(
            InvalidOptionError, match=r"each action must be \d torques, one per joi"
        ):
            captioner.transition_captions(facts, [0.5], facts)
