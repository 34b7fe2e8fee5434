"""Judges that look: the pixels that a model is sent are those of the state before the step."""

from __future__ import annotations

import base64
import copy
import io
import pickle

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import PlainHttp
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from PIL import Image

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
)
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import LLM, Budget, allow_requests
from llm_wrappers.methods import lmgt
from llm_wrappers.methods.lmgt.frames import png_base64
from llm_wrappers.testing import LLMServer, ScriptedLLM

LAKE = "FrozenLake-v1"
LEFT, DOWN, RIGHT = 0, 1, 2


class Shades(gym.Env):
    """Walks along a line; the picture is as bright as the place is far."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ("rgb_array",), "render_fps": 4}  # noqa: RUF012

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode
        self.drawn = np.zeros((6, 5, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return 0, {}

    def step(self, action):
        self.place += int(action)
        return self.place, 0.0, self.place == 3, False, {}

    def render(self):
        self.drawn[:] = 60 * self.place
        self.drawn[0, 0] = (1, 2, 3)
        return self.drawn


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


def lake():
    return gym.make(LAKE, is_slippery=False, render_mode="rgb_array")


def described(env):
    return resolve_captioner(env).description


def decoded(png):
    """Return the pixels of a PNG in base64."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def pixels_in(body):
    """Return the picture of a request, decoded."""
    (part,) = [p for p in body["messages"][-1]["content"] if p["type"] == "image_url"]
    head, _, data = part["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    return decoded(data)


def text_in(body):
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def client(server, **options):
    return LLM("openai/test", transport=PlainHttp(server.api_base), cache=None, **options)


class TestFrames:
    def test_each_info_has_the_picture_of_its_state(self):
        env = lmgt.FrameInfoWrapper(Shades())
        frames = [env.reset(seed=0)[1]["frame"], *(env.step(1)[4]["frame"] for _ in range(2))]
        pictures = [decoded(frame) for frame in frames]
        assert [int(picture[1, 1, 0]) for picture in pictures] == [0, 60, 120]
        assert [picture[0, 0].tolist() for picture in pictures] == [[1, 2, 3]] * 3

    def test_png_keeps_every_pixel(self):
        frame = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
        np.testing.assert_array_equal(decoded(png_base64(frame)), frame)

    @pytest.mark.parametrize(
        "frame", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8)],
        ids=["grey", "float", "alpha"],
    )  # fmt: skip
    def test_what_is_no_picture_is_refused(self, frame):
        with pytest.raises(InvalidOptionError, match="height, width, 3"):
            png_base64(frame)

    @pytest.mark.parametrize("mode", [None, "human"])
    def test_another_render_mode_is_refused(self, mode):
        with pytest.raises(IncompatibleEnvironmentError, match="rgb_array"):
            lmgt.FrameInfoWrapper(Shades(mode))

    def test_a_captioner_without_pictures_says_what_to_do(self):
        env = lake()
        captioner = lmgt.FrameCaptioner(resolve_captioner(env))
        assert captioner.description == described(env)
        with pytest.raises(InvalidOptionError, match="FrameInfoWrapper"):
            captioner.facts(np.array([0]), {"prob": np.array([1.0])})

    def test_the_words_stay_those_of_the_environment(self):
        env = lmgt.FrameInfoWrapper(lake())
        plain, own = resolve_captioner(lake()), resolve_captioner(env)
        frames = {"frame": np.array(["a", "b"])}
        facts = own.facts(np.array([0, 1]), frames)
        assert own.state_captions(facts) == plain.state_captions(plain.facts(np.array([0, 1]), {}))
        said = own.transition_captions(facts[:1], [RIGHT], facts[1:])
        assert said == plain.transition_captions(facts[:1], [RIGHT], facts[1:])

    def test_a_spec_rebuilds_it(self):
        env = lmgt.FrameInfoWrapper(lake())
        rebuilt = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        assert rebuilt.reset(seed=0)[1]["frame"] == env.reset(seed=0)[1]["frame"]


class TestDirect:
    def test_over_litellm_the_picture_is_that_before_the_step(self, tmp_path):
        env = lmgt.FrameInfoWrapper(lake())
        with LLMServer("SCORE: -1") as server:
            llm = LLM(
                "openai/test", api_base=server.api_base, cache=tmp_path / "answers.sqlite",
                budget=Budget(calls=10),
            )  # fmt: skip
            judge = lmgt.VisionJudge(llm, described(env), on_miss="block", knowledge=True)
            played = lmgt.wrap(env, judge)
            played.reset(seed=0)
            before = env.render()
            assert played.step(RIGHT)[1] == -1.0
            (body,) = server.requests
            np.testing.assert_array_equal(pixels_in(body), before)
            assert "Action: right\n" in text_in(body)
            assert "frozen lake" in text_in(body)
            # Equal pictures are one question, in later runs too.
            for _ in range(2):
                played.reset(seed=0)
                played.step(RIGHT)
            assert server.count == 1
            again = lmgt.VisionJudge(llm, described(env), on_miss="block", knowledge=True)
            fresh = lmgt.wrap(lmgt.FrameInfoWrapper(lake()), again)
            fresh.reset(seed=0)
            fresh.step(RIGHT)
            assert server.count == 1
            fresh.reset(seed=0)
            fresh.step(DOWN)
            assert server.count == 2
            llm.close()

    @pytest.mark.parametrize("autoreset", list(AutoresetMode)[:2], ids=lambda mode: mode.name)
    def test_sub_environments_are_judged_by_their_own_pictures(self, autoreset):
        envs = SyncVectorEnv(
            [lambda: lmgt.FrameInfoWrapper(Shades())] * 2, autoreset_mode=autoreset
        )
        with LLMServer(lambda body: f"SCORE: {int(pixels_in(body)[1, 1, 0] >= 60)}") as server:
            judge = lmgt.VisionJudge(client(server), described(envs), on_miss="block")
            played = lmgt.wrap(envs, judge)
            played.reset(seed=0)
            shifts = [played.step(np.array([1, 0]))[1].tolist() for _ in range(3)]
            assert shifts == [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
            shades = {(int(pixels_in(b)[1, 1, 0]), text_in(b)) for b in server.requests}
        assert {shade for shade, _ in shades} == {0, 60, 120}
        assert len(shades) == server.count == 4

    @pytest.mark.slow
    def test_other_processes_send_their_pictures(self):
        envs = AsyncVectorEnv([lambda: lmgt.FrameInfoWrapper(Shades())] * 2)
        with LLMServer("SCORE: 1") as server:
            inner = resolve_captioner(Shades())
            judge = lmgt.VisionJudge(client(server), inner.description, on_miss="block")
            played = lmgt.wrap(envs, judge, captioner=lmgt.FrameCaptioner(inner))
            try:
                played.reset(seed=0)
                played.step(np.array([1, 0]))
                played.step(np.array([1, 1]))
            finally:
                played.close()
            assert sorted(int(pixels_in(b)[1, 1, 0]) for b in server.requests) == [0, 0, 60]

    def test_an_unreadable_answer_is_neutral(self):
        llm = ScriptedLLM(["It is a lake."])
        judge = lmgt.VisionJudge(llm, described(lake()), on_miss="block")
        picture = States([{"frame": png_base64(np.zeros((2, 2, 3), np.uint8))}], list)
        with pytest.warns(GuidanceWarning, match="It is a lake"):
            assert judge.judge(picture, [0]) == [0]
        assert judge.judge(picture, [0]) == [0]
        assert judge.stats()["failures_parse"] == 1

    def test_without_pictures_the_first_step_says_what_to_do(self):
        env = lmgt.wrap(lake(), lmgt.VisionJudge(ScriptedLLM({}), described(lake())))
        env.reset(seed=0)
        with pytest.raises(InvalidOptionError, match="FrameInfoWrapper"):
            env.step(RIGHT)

    @pytest.mark.parametrize("mode", ["direct", "caption"])
    def test_one_object_per_process(self, mode):
        judge = lmgt.VisionJudge(ScriptedLLM({}), described(lake()), mode=mode)
        assert copy.deepcopy(judge) is judge
        picture = States([{"frame": "x"}], list)
        assert pickle.loads(pickle.dumps(judge)).judge(picture, [0]) == [None]


class TestCaption:
    def words(self, body):
        """Put a shade into words, and judge words."""
        if isinstance(body["messages"][-1]["content"], str):
            return f"SCORE: {+1 if 'bright' in text_in(body) else -1}"
        return "It is  bright." if pixels_in(body)[1, 1, 0] > 60 else "It is\ndark."

    def test_a_picture_is_described_once_and_its_words_are_judged(self):
        env = lmgt.FrameInfoWrapper(Shades())
        with LLMServer(self.words) as eyes, LLMServer(self.words) as mind:
            judge = lmgt.VisionJudge(
                client(eyes), described(env), mode="caption", judge_llm=client(mind),
                prompt="role", on_miss="block",
            )  # fmt: skip
            played = lmgt.wrap(env, judge)
            played.reset(seed=0)
            # The second picture is another one, with the same words.
            assert [played.step(1)[1] for _ in range(3)] == [-1.0, -1.0, 1.0]
            played.reset(seed=0)
            assert played.step(0)[1] == -1.0
            assert [int(pixels_in(b)[1, 1, 0]) for b in eyes.requests] == [0, 60, 120]
            asked = [text_in(body) for body in mind.requests]
        assert len(asked) == 3
        assert all("You are a coach" in text for text in asked)
        assert "State: It is dark.\nAction: action 1\n" in asked[0]
        assert judge.stats()["words"]["asked"] == 3

    def test_asked_beforehand_training_asks_nobody(self):
        pictures = [png_base64(np.full((4, 4, 3), shade, np.uint8)) for shade in (0, 200, 200)]
        states = States([{"frame": png} for png in pictures], list)
        with LLMServer(self.words) as server:
            llm = client(server)
            judge = lmgt.VisionJudge(llm, described(Shades()), mode="caption")
            assert judge.judge(states, [0, 0, 1]) == [None] * 3
            assert judge.prefill(states, [0, 0, 1], progress_bar=False) == [-1, 1, 1]
            assert server.count == 2 + 3
            later = lmgt.VisionJudge(llm, described(Shades()), mode="caption")
            assert later.judge(states, [0, 0, 1]) == [-1, 1, 1]
            direct = lmgt.VisionJudge(llm, described(Shades()))
            with pytest.warns(GuidanceWarning, match="It is"):
                assert direct.prefill(states, [0, 0, 1], progress_bar=False) == [0, 0, 0]
            assert server.count == 5 + 3

    def test_a_picture_without_a_description_has_no_judgement_yet(self):
        llm = ScriptedLLM([TimeoutError("slow"), "It is bright.", "SCORE: 1"])
        judge = lmgt.VisionJudge(
            llm, described(Shades()), mode="caption", on_miss="block", retry_failed_after=0.0
        )
        states = States([{"frame": "iVBORw0K"}], list)
        with pytest.warns(GuidanceWarning, match="TimeoutError"):
            assert judge.judge(states, [0]) == [None]
        assert judge.judge(states, [0]) == [1]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "see"}, "mode must be one of"),
            ({"judge_llm": ScriptedLLM({})}, 'only mode="caption"'),
            ({"prompt": "few-shot"}, "examples"),
            ({"mode": "caption", "prompt": "few-shot"}, "examples"),
        ],
        ids=["mode", "judge_llm", "direct", "caption"],
    )
    def test_what_cannot_work(self, options, message):
        with pytest.raises(InvalidOptionError, match=message):
            lmgt.VisionJudge(ScriptedLLM({}), described(Shades()), **options)
