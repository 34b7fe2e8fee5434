"""Robots of MuJoCo in words: joints, limits and settings are the simulator's."""

import inspect
import math
import re
import warnings
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.worlds.mujoco.captioner import MujocoCaptioner

ROBOTS = ("Hopper-v5", "Walker2d-v5", "Ant-v5")


class Moment(NamedTuple):
    """One real state, as the environment tells it and as the simulator has it."""

    observation: Any
    qpos: Any
    qvel: Any
    action: Any
    terminated: bool
    info: Any


def rollout(env, steps, *, scale, seed):
    """Play random actions; the first moment of each episode has no action."""
    generator = np.random.default_rng(seed)
    data, space = env.unwrapped.data, env.action_space
    moments, over = [], True
    while len(moments) < steps:
        if over:
            observation, info = env.reset(seed=seed + len(moments))
            action, terminated, truncated = None, False, False
        else:
            action = (scale * generator.uniform(space.low, space.high)).astype(np.float32)
            observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        moments.append(
            Moment(observation, data.qpos.copy(), data.qvel.copy(), action, terminated, info)
        )
    return moments


def pose(env, **values):
    """Set positions by joint name, all else at its start and at rest, and return the observation.

    A value of three numbers or four sets the last coordinates of a joint that has more than one.
    """
    base = env.unwrapped
    env.reset(seed=0)
    qpos, qvel = base.init_qpos.copy(), np.zeros_like(base.init_qvel)
    for name, value in values.items():
        joint = base.model.joint(name)
        last = joint.qposadr[0] + {0: 7, 1: 1, 2: 1, 3: 1}[int(joint.type[0])]
        qpos[last - np.size(value) : last] = value
    base.set_state(qpos, qvel)
    return base._get_obs()


def speak(env_id, observation, **options):
    """Return facts and state caption of one observation."""
    captioner = MujocoCaptioner(env_id, **options)
    (facts,) = captioner.facts(np.asarray(observation, dtype=np.float64)[None], {})
    return facts, captioner.state_captions([facts])[0]


def joint_read_back(name, caption):
    """Return angle and velocity of a joint from a sentence, and whether it may be faster."""
    match = re.search(
        rf"(?:: |; ){name} (?:straight|([\d.]+) degrees? ([a-z]+)), "
        r"(?:still|([a-z ]+) at (\d+) degrees?/s( or more)?)[;.]",
        caption,
    )
    assert match is not None, (name, caption)
    angle, side, motion, speed, more = match.groups()
    return (
        float(angle or 0) * _sign(side, name),
        float(speed or 0) * _sign(motion, name),
        more is not None,
    )


def number(pattern, caption, negative=()):
    """Read a number, and its side if there is one, from a sentence; 0 if it is not in there."""
    match = re.search(pattern, caption)
    if match is None:
        return 0.0
    number, *side = match.groups()
    return float(number) * (-1 if side and side[0] in negative else 1)


def _sign(word, name):
    # The foot of Ant hangs from a leg that is level: there down is positive.
    ant = name.startswith(("front", "back"))
    negative = {"back", "bent", "swinging back", "bending", "turning down", "lifting"}
    return -1 if word in negative | ({"up"} if ant else {"down"}) else 1


pytest.importorskip("mujoco")

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


LEGS = {"Hopper-v5": [""], "Walker2d-v5": ["right ", "left "]}
JOINTS = {
    env_id: [f"{leg}{joint}" for leg in legs for joint in ("hip", "knee", "ankle")]
    for env_id, legs in LEGS.items()
}
BACK = ("backward", "down")


@pytest.fixture(params=sorted(LEGS))
def planar_env(request):
    planar_env = gym.make(request.param)
    yield planar_env
    planar_env.close()


def assert_read_back(env_id, caption, qpos, qvel):
    """Compare a sentence with positions and velocities, x first, as the simulator has them."""
    seen = np.clip(qvel, -10, 10)
    leans = number(r"leans ([\d.]+) degrees? (\w+)", caption, BACK)
    turns = number(r", turning (?:for|back)ward at ([\d.]+)", caption)
    turns *= -1 if ", turning backward" in caption else 1
    side = -1 if "It moves backward" in caption else 1
    forward = side * number(r"It moves \w+ at ([\d.]+) m/s", caption)
    up = -1 if "and down at" in caption else 1
    rise = up * number(r"and (?:up|down) at ([\d.]+) m/s", caption)
    for read, truth, half in (
        (number(r"torso is (-?[\d.]+) m high", caption), qpos[1], 0.005),
        (leans, math.degrees(qpos[2]), 0.05),
        (forward, seen[0], 0.005),
        (rise, seen[1], 0.005),
        (turns, math.degrees(seen[2]), 0.5),
    ):
        assert read == pytest.approx(truth, abs=half + 1e-9), caption
    for index, name in enumerate(JOINTS[env_id], start=3):
        angle, velocity, faster = joint_read_back(name, caption)
        assert angle == pytest.approx(math.degrees(qpos[index]), abs=0.05 + 1e-9)
        assert velocity == pytest.approx(math.degrees(seen[index]), abs=0.5 + 1e-9)
        assert faster == (abs(qvel[index]) >= 10)


class TestReadBack:
    def test_sentences_of_real_episodes_give_the_state_of_the_simulator(self, planar_env):
        env_id = planar_env.spec.id
        captioner = MujocoCaptioner(env_id)
        moments = [
            m for seed in (0, 1) for m in rollout(planar_env, 150, scale=1 - 0.7 * seed, seed=seed)
        ]
        facts = captioner.facts(np.stack([m.observation for m in moments]), {})
        captions = captioner.state_captions(facts)
        ends = 0
        for moment, row, caption in zip(moments, facts, captions, strict=True):
            assert_read_back(env_id, caption, moment.qpos, moment.qvel)
            assert row["within_limits"] != moment.terminated
            assert ("It is outside of its limits." in caption) == moment.terminated
            ends += moment.terminated
        assert ends >= 3


class TestDirections:
    """What the words say is what the simulator does."""

    @pytest.mark.parametrize("angle", [-0.15, 0.15])
    def test_the_torso_leans_to_where_its_top_is(self, planar_env, angle):
        caption = speak(planar_env.spec.id, pose(planar_env, rooty=angle))[1]
        top = planar_env.unwrapped.data.body("torso").xmat.reshape(3, 3)[:, 2]
        assert f"leans 8.6 degrees {'forward' if top[0] > 0 else 'backward'}" in caption

    def test_legs(self, planar_env):
        data = planar_env.unwrapped.data
        for leg, suffix in zip(LEGS[planar_env.spec.id], ("", "_left"), strict=False):
            torso = data.body("torso")
            for angle in (-0.3, 0.3):
                caption = speak(
                    planar_env.spec.id, pose(planar_env, **{f"thigh{suffix}_joint": angle})
                )[1]
                front = data.geom(f"thigh{suffix}_geom").xpos[0] > torso.xpos[0]
                assert f"{leg}hip 17.2 degrees {'forward' if front else 'back'}," in caption
                caption = speak(
                    planar_env.spec.id, pose(planar_env, **{f"leg{suffix}_joint": angle})
                )[1]
                front = data.geom(f"leg{suffix}_geom").xpos[0] > torso.xpos[0]
                assert f"{leg}knee 17.2 degrees {'overstretched' if front else 'bent'}," in caption
                pose(planar_env)
                level = data.body(f"foot{suffix}").xpos[2]
                caption = speak(
                    planar_env.spec.id, pose(planar_env, **{f"foot{suffix}_joint": angle})
                )[1]
                higher = data.body(f"foot{suffix}").xpos[2] > level
                assert f"{leg}ankle 17.2 degrees {'up' if higher else 'down'}," in caption

    def test_torques_turn_joints_where_the_words_say(self, planar_env):
        env_id, base = planar_env.spec.id, planar_env.unwrapped
        captioner = MujocoCaptioner(env_id)
        moves = {"hip": "swinging forward", "knee": "stretching", "ankle": "turning up"}
        words = {"hip": "forward", "knee": "stretch", "ankle": "up"}
        for index, name in enumerate(JOINTS[env_id]):
            # High in the air and bent, away from the ground and the ends of all joints.
            bent = {
                planar_env.unwrapped.model.joint(j).name: -0.5 for j in range(3, base.model.njnt)
            }
            before = pose(planar_env, rootz=3.0, **bent)
            action = np.zeros(planar_env.action_space.shape, np.float32)
            action[index] = 1.0
            base.do_simulation(action, base.frame_skip)
            facts = captioner.facts(np.stack([before, base._get_obs()]), {})
            kind = name.split()[-1]
            assert f"{name} 2" in captioner.state_captions(facts)[0]
            assert f", {moves[kind]} at" in captioner.state_captions(facts)[1].split(name)[1]
            (caption,) = captioner.transition_captions(facts[:1], [action], facts[1:])
            assert caption.startswith(f"{name} {words[kind]} 1.00: ")


class TestBalance:
    def test_the_limit_is_reached_when_the_sentence_says(self):
        state = [1.0, 0.15, 0, 0, 0, 0, 0, 0.5, 0, 0, 0]
        facts, caption = speak("Hopper-v5", state)
        assert facts["seconds_to_limit"] == pytest.approx(0.1)
        assert facts["torso_angle_margin_deg"] == pytest.approx(math.degrees(0.05))
        assert "It is falling forward: at this rate the limit is 0.10 s away." in caption

    @pytest.mark.parametrize(
        ("height", "angle", "rise", "turn", "threat"),
        [
            (1.25, -0.7, 0, -1.6, "falling backward"),
            (0.85, 0, -1.0, 0, "sinking too low"),
            (1.9, 0, 1.0, 0, "rising too high"),
            (0.81, 0.95, -1.0, 0.5, "sinking too low"),
            (1.25, 0, -1.0, 0.5, "none"),
            (1.25, 0, 0, 0, "none"),
        ],
    )
    def test_threats(self, height, angle, rise, turn, threat):
        facts, caption = speak("Walker2d-v5", [height, angle, *[0] * 7, rise, turn, *[0] * 6])
        assert facts["threat"] == threat
        assert (f"It is {threat}:" in caption) == (threat != "none")
        assert ("It is upright." in caption) == (threat == "none")

    @pytest.mark.parametrize(
        ("height", "words"),
        [
            (0.85, "0.85 m high, 0.05 m above the lower limit"),
            (1.90, "1.90 m high, 0.10 m below the upper limit"),
            (0.75, "0.75 m high, 0.05 m below the lower limit"),
            (2.10, "2.10 m high, 0.10 m above the upper limit"),
        ],
    )
    def test_the_nearer_limit_of_the_height_is_named(self, height, words):
        facts, caption = speak("Walker2d-v5", [height, *[0] * 16])
        assert words in caption
        assert facts["torso_height_margin_m"] == pytest.approx(
            (1 if facts["within_limits"] else -1) * number(r"high, ([\d.]+)", caption)
        )

    def test_past_the_limit_of_the_angle(self):
        _, caption = speak("Hopper-v5", [1.2, -0.3, *[0] * 9])
        assert "leans 17.2 degrees backward (5.7 degrees past the limit), not turning." in caption
        assert "It is outside of its limits. It moves neither forward nor backward and" in caption

    def test_limits_are_those_that_the_environment_was_made_with(self):
        state = [0.6, 0.3, *[0] * 9]
        wide = {"healthy_z_range": (0.5, 0.9), "healthy_angle_range": (-np.inf, np.inf)}
        facts, caption = speak("Hopper-v5", state, settings=wide)
        assert facts["within_limits"]
        assert facts["torso_angle_margin_deg"] is None
        assert "0.10 m above the lower limit, and leans 17.2 degrees forward, not" in caption
        assert not speak("Hopper-v5", state)[0]["within_limits"]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
    def test_numbers_of_a_simulation_that_blew_up(self, value):
        facts, caption = speak("Hopper-v5", [value] * 11)
        assert not facts["within_limits"]
        assert "outside of its limits" in caption


class TestTransitions:
    def test_what_a_step_changed(self):
        captioner = MujocoCaptioner("Hopper-v5")
        states = [[1.2, 0.05, *[0.0] * 9], [1.21, 0.1, 0, 0, 0, 0.3, *[0.0] * 5]]
        facts = captioner.facts(np.array(states), {})
        there, back = captioner.transition_captions(
            facts, [np.zeros(3), np.array([-0.25, 0.001, -1])], facts[::-1]
        )
        assert there == (
            "no torque: gained speed (velocity from 0.00 m/s to 0.30 m/s forward); tipped (torso "
            "angle from 2.9 degrees forward to 5.7 degrees forward); rose (height from 1.20 m to "
            "1.21 m)"
        )
        assert back.startswith("hip back 0.25, ankle down 1.00: lost speed (")
        assert "straightened up" in back
        assert "sank" in back
        assert captioner.transition_captions(facts[:1], [np.zeros(3)], facts[:1]) == [
            "no torque: nothing changed"
        ]

    def test_a_real_fall_is_told(self, planar_env):
        captioner = MujocoCaptioner(planar_env.spec.id)
        moments = rollout(planar_env, 120, scale=1, seed=7)
        facts = captioner.facts(np.stack([m.observation for m in moments]), {})
        falls = 0
        for before, moment, after in zip(facts, moments[1:], facts[1:], strict=False):
            if moment.action is not None:
                (told,) = captioner.transition_captions([before], [moment.action], [after])
                assert ("left its limits" in told) == moment.terminated
                falls += moment.terminated
        assert falls >= 1


pytest.importorskip("mujoco")

# In the order of the observation: where each leg is, and the signs of its hip and ankle.
LEG_SIGNS = {
    "front left": (-1, 1),
    "back left": (-1, -1),
    "back right": (1, -1),
    "front right": (1, 1),
}
NAMES = [f"{leg} {joint}" for leg in LEG_SIGNS for joint in ("hip", "ankle")]
SIGNS = [sign for pair in LEG_SIGNS.values() for sign in pair]


@pytest.fixture(scope="module")
def ant_env():
    ant_env = gym.make("Ant-v5")
    yield ant_env
    ant_env.close()


def rotation(roll, pitch, yaw):
    """Return the matrix of a yaw, then a pitch, then a roll around the axes of the body."""
    (cr, sr), (cp, sp), (cy, sy) = (
        (math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (roll, pitch, yaw)
    )
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def matrix(quaternion):
    """Return the matrix of a quaternion, by MuJoCo itself."""
    import mujoco

    quaternion, found = np.array(quaternion, dtype=np.float64), np.zeros(9)
    mujoco.mju_normalize4(quaternion)
    mujoco.mju_quat2Mat(found, quaternion)
    return found.reshape(3, 3)


def orientation_of(facts):
    return rotation(*(facts[f"{name}_deg"] for name in ("roll", "pitch", "yaw")))


def velocity_of(moves, negative, positive):
    match = re.search(rf"({negative}|{positive}) at ([\d.]+) m/s", moves)
    return 0.0 if match is None else float(match[2]) * (-1 if match[1] == negative else 1)


def ant_assert_read_back(caption, facts, qpos, qvel):
    """Compare a sentence with positions and velocities, x and y first, of the simulator."""
    moves = caption.split("It moves ")[1].split(". On the ground")[0]
    turns = caption.split("It turns: ")[1].split(". It moves")[0]
    degrees = np.degrees(qvel[3:6])
    left = ("to the left", "nose up", "right")
    for read, truth, half in (
        (number(r"torso is (-?[\d.]+) m high", caption), qpos[2], 0.005),
        (number(r"tilted ([\d.]+) degree", caption), facts["tilt_deg"], 0.05),
        (number(r"roll ([\d.]+) degrees? (to the \w+)", caption, left), facts["roll_deg"], 0.05),
        (number(r"pitch ([\d.]+) degrees? (nose \w+)", caption, left), facts["pitch_deg"], 0.05),
        (velocity_of(moves, "backward", "forward"), qvel[0], 0.005),
        (velocity_of(moves, "to the right", "to the left"), qvel[1], 0.005),
        (velocity_of(moves, "down", "up"), qvel[2], 0.005),
        (number(r"roll (\d+) degrees?/s (to the \w+)", turns, left), degrees[0], 0.5),
        (number(r"pitch (\d+) degrees?/s (nose \w+)", turns, left), degrees[1], 0.5),
        (number(r"heading (\d+) degrees?/s (\w+)", turns, left), degrees[2], 0.5),
    ):
        assert read == pytest.approx(truth, abs=half + 1e-9), caption
    for index, (name, sign) in enumerate(zip(NAMES, SIGNS, strict=True)):
        angle, velocity, faster = joint_read_back(name, caption)
        assert angle == pytest.approx(sign * math.degrees(qpos[7 + index]), abs=0.05 + 1e-9)
        assert velocity == pytest.approx(sign * math.degrees(qvel[6 + index]), abs=0.5 + 1e-9)
        assert not faster


class TestAntReadBack:
    def test_sentences_of_real_episodes_give_the_state_of_the_simulator(self, ant_env):
        captioner = MujocoCaptioner("Ant-v5")
        moments = rollout(ant_env, 300, scale=1, seed=0)
        facts = captioner.facts(np.stack([m.observation for m in moments]), {})
        captions = captioner.state_captions(facts)
        costs, ends = [], 0
        for moment, row, caption in zip(moments, facts, captions, strict=True):
            ant_assert_read_back(caption, row, moment.qpos, moment.qvel)
            np.testing.assert_allclose(
                orientation_of(row), matrix(moment.qpos[3:7]), atol=1e-9, rtol=0
            )
            assert row["within_limits"] != moment.terminated
            ends += moment.terminated
            if moment.action is not None:
                costs.append(row["contact_cost"])
                assert row["contact_cost"] == pytest.approx(-moment.info["reward_contact"])
                spoken = number(r"\(cost ([\d.]+)\)", caption)
                assert spoken == pytest.approx(row["contact_cost"], abs=0.00005 + 1e-12)
        assert ends >= 1
        assert max(costs) > min(costs) == 0.0


class TestAntDirections:
    """What the words say is what the simulator does."""

    def test_each_leg_is_where_its_name_says(self, ant_env):
        observation = pose(ant_env)
        base = ant_env.unwrapped
        for index, leg in enumerate(LEG_SIGNS):
            moved = observation.copy()
            moved[5 + 2 * index] = 0.3
            moved[6 + 2 * index] = 0.4
            caption = speak("Ant-v5", moved)[1]
            still = [name for name in NAMES if f"{name} straight, still" in caption]
            assert sorted(set(NAMES) - set(still)) == [f"{leg} ankle", f"{leg} hip"]
            # The foot is the third of the three bodies of a leg, behind world and torso.
            x, y, _ = base.data.xpos[2 + 3 * index + 2] - base.data.xpos[1]
            assert leg == f"{'front' if x > 0 else 'back'} {'left' if y > 0 else 'right'}"

    def test_hips_and_ankles(self, ant_env):
        data = ant_env.unwrapped.data
        for index, leg in enumerate(LEG_SIGNS):
            shin = 2 + 3 * index + 2
            geoms = np.flatnonzero(ant_env.unwrapped.model.geom_bodyid == shin)
            pose(ant_env)
            x, _, z = data.geom_xpos[geoms[0]]
            for angle in (-0.4, 0.4):
                caption = speak("Ant-v5", pose(ant_env, **{f"hip_{index + 1}": angle}))[1]
                forward = data.geom_xpos[geoms[0]][0] > x
                assert (
                    f"{leg} hip 22.9 degrees {'forward' if forward else 'back'}, still" in caption
                )
                caption = speak("Ant-v5", pose(ant_env, **{f"ankle_{index + 1}": angle}))[1]
                higher = data.geom_xpos[geoms[0]][2] > z
                assert f"{leg} ankle 22.9 degrees {'up' if higher else 'down'}, still" in caption

    @pytest.mark.parametrize(
        ("quaternion", "words"),
        [
            ((1, 0, 0, 0), "the right way up, tilted 0.0 degrees, and faces straight forward."),
            ((1, 1, 0, 0), "tilted 90.0 degrees, roll 90.0 degrees to the right, and faces str"),
            ((0, 1, 0, 0), "upside down, tilted 180.0 degrees, roll 180.0 degrees to the right,"),
            ((0.98, 0, 0.199, 0), "tilted 23.0 degrees, pitch 23.0 degrees nose down, and faces"),
            ((1, 0, 0, 1), "tilted 0.0 degrees, and faces 90.0 degrees left of forward."),
            ((1, 0, 0, -1), "tilted 0.0 degrees, and faces 90.0 degrees right of forward."),
            ((0, 0, 0, 1), "tilted 0.0 degrees, and faces straight backward."),
            ((0, 0, 0, 0), "tilted 0.0 degrees, and faces straight forward."),
        ],
    )
    def test_orientation(self, ant_env, quaternion, words):
        observation = pose(ant_env, root=quaternion)
        assert words in speak("Ant-v5", observation)[1]
        axes = ant_env.unwrapped.data.body("torso").xmat.reshape(3, 3)
        np.testing.assert_allclose(
            orientation_of(speak("Ant-v5", observation)[0]), axes, atol=1e-12
        )

    def test_to_the_right_is_where_the_right_side_is_lower(self, ant_env):
        for roll in (-0.2, 0.2):
            caption = speak("Ant-v5", pose(ant_env, root=(1, roll, 0, 0)))[1]
            left_leg, right_leg = ant_env.unwrapped.data.xpos[[3, 12], 2]
            side = "right" if right_leg < left_leg else "left"
            assert f"roll 22.6 degrees to the {side}" in caption

    def test_turning_changes_the_angle_of_its_name(self, ant_env):
        base = ant_env.unwrapped
        for index, name in enumerate(("roll", "pitch", "yaw")):
            pose(ant_env)
            velocity = np.zeros(14)
            velocity[3 + index] = 0.5
            base.set_state(base.data.qpos.copy(), velocity)
            facts, _ = speak("Ant-v5", base._get_obs())
            assert facts[f"{name}_velocity_deg_per_s"] == pytest.approx(math.degrees(0.5))
            base.do_simulation(np.zeros(8), 1)
            later, _ = speak("Ant-v5", base._get_obs())
            assert later[f"{name}_deg"] > facts[f"{name}_deg"] + 0.1

    def test_torques_turn_joints_where_the_words_say(self, ant_env):
        base = ant_env.unwrapped
        captioner = MujocoCaptioner("Ant-v5")
        order = ("front right", "front left", "back left", "back right")
        joints = [f"{leg} {joint}" for leg in order for joint in ("hip", "ankle")]
        for index, name in enumerate(joints):
            inside = {
                f"ankle_{leg}": 0.87 * LEG_SIGNS[n][1] for leg, n in enumerate(LEG_SIGNS, start=1)
            }
            pose(ant_env, **inside)
            qpos = base.data.qpos.copy()
            qpos[2] = 3.0
            base.set_state(qpos, np.zeros(14))
            before = base._get_obs()
            action = np.zeros(8, np.float32)
            action[index] = 1.0
            base.do_simulation(action, 1)
            facts = captioner.facts(np.stack([before, base._get_obs()]), {})
            (caption,) = captioner.transition_captions(facts[:1], [action], facts[1:])
            fact = f"{name.replace(' ', '_')}_velocity_deg_per_s"
            words = ("back", "forward") if name.endswith("hip") else ("up", "down")
            assert abs(facts[1][fact]) > 50
            assert caption.startswith(f"{name} {words[facts[1][fact] > 0]} 1.00: ")


class TestGround:
    def test_legs_that_touch_are_those_of_the_simulator(self, ant_env):
        base = ant_env.unwrapped
        ant_env.reset(seed=0)
        assert "On the ground: nothing. Joints:" in speak("Ant-v5", base._get_obs())[1]
        for _ in range(60):
            observation, *_ = ant_env.step(np.zeros(8, np.float32))
        facts, caption = speak("Ant-v5", observation)
        bodies = {int(base.model.geom_bodyid[g]) for pair in base.data.contact.geom for g in pair}
        touching = [
            leg
            for index, leg in enumerate(LEG_SIGNS)
            if bodies & {2 + 3 * index + k for k in range(3)}
        ]
        assert touching
        named = ", ".join(f"{leg} leg" for leg in touching)
        assert f"On the ground: {named} (cost {facts['contact_cost']:.4f})." in caption
        for leg in LEG_SIGNS:
            assert facts[f"{leg.replace(' ', '_')}_leg_on_ground"] == (leg in touching)

    def test_what_lies_on_its_back_touches_with_the_torso(self, ant_env):
        base = ant_env.unwrapped
        pose(ant_env, root=(0, 1, 0, 0))
        for _ in range(60):
            observation, *_ = ant_env.step(np.zeros(8, np.float32))
        facts, caption = speak("Ant-v5", observation)
        torso = any(1 in base.model.geom_bodyid[pair] for pair in base.data.contact.geom)
        assert torso
        assert facts["torso_on_ground"]
        assert "torso (cost" in caption
        assert "It is upside down" in caption

    def test_setting_down_and_lifting_legs_is_told(self, ant_env):
        captioner = MujocoCaptioner("Ant-v5")
        air, ground = np.zeros((2, 105))
        ground[27 + 6 * 3 + 5] = 0.5  # the vertical force on the third part of the first leg
        facts = captioner.facts(np.stack([air, ground]), {})
        nothing = np.zeros(8)
        down, up = captioner.transition_captions(facts, [nothing] * 2, facts[::-1])
        assert down == "no torque: set down the front left leg"
        assert up == "no torque: lifted the front left leg"


class TestAntBalance:
    @pytest.mark.parametrize(
        ("height", "rise", "words"),
        [
            (0.5, -0.2, "0.30 m above the lower limit. Its height is safe. "),
            (0.3, -1.0, "It is sinking too low: at this rate the limit is 0.10 s away."),
            (0.9, 1.0, "0.10 m below the upper limit. It is rising too high: at this rate"),
            (1.1, 0.0, "0.10 m above the upper limit. It is outside of its limits."),
            (0.2, -1.0, "It is sinking too low: at this rate the limit is 0.00 s away."),
            (0.2, 0.0, "0.00 m above the lower limit. Its height is safe."),
        ],
    )
    def test_height(self, height, rise, words):
        state = np.zeros(105)
        state[0], state[1], state[15] = height, 1, rise
        assert words in speak("Ant-v5", state)[1]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
    def test_numbers_of_a_simulation_that_blew_up(self, value):
        facts, caption = speak("Ant-v5", [value] * 105)
        assert not facts["within_limits"]
        assert "outside of its limits" in caption
