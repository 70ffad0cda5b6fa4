"""Which server a model has. llama.cpp's answers were recorded from its own server (xllamacpp
2026.10), vLLM's from version 0.27.1 on CPU; the others are not recorded but written after the place
that each one names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.chat.servers import Server, served_model, server_at
from tests.helpers.loopback_site import Site, running_site


def models(*entries: dict[str, object]) -> dict[str, object]:
    return {"object": "list", "data": [{"object": "model", **entry} for entry in entries]}


LLAMA_CPP = {
    "/v1/models": models({
        "id": "local", "owned_by": "llamacpp", "created": 1795878760,
        "meta": {"n_vocab": 151936, "n_ctx": 4096, "n_ctx_train": 32768},
    }),
    "/props": {
        "default_generation_settings": {"n_ctx": 4096, "params": {"max_tokens": -1}},
        "total_slots": 2, "model_alias": "local",
    },
}  # fmt: skip
VLLM = {
    "/v1/models": models({
        "id": "tiny", "created": 1795907386, "owned_by": "vllm", "root": "model", "parent": None,
        "max_model_len": 1024, "permission": [{"id": "modelperm-ac12", "allow_sampling": True}],
    }),
    "/version": {"version": "0.27.1"},
}  # fmt: skip
SGLANG = {"/v1/models": models({"id": "q", "owned_by": "sglang", "max_model_len": 32768})}
"""SGLang's OpenAI APIs: ModelCard."""
OLLAMA = {
    "/v1/models": models({"id": "qwen3:8b", "owned_by": "library"}, {"id": "b", "owned_by": "me"}),
    "/api/ps": {"models": [{"name": "unnamed", "model": "unnamed", "context_length": 4096}]},
}
"""Ollama's OpenAI compatibility, and its API: list running models."""
LM_STUDIO = {
    "/v1/models": models({"id": "unnamed", "owned_by": "organization_owner"}),
    "/api/v0/models": models({
        "id": "unnamed", "publisher": "p", "state": "loaded", "max_context_length": 131072,
        "loaded_context_length": 4096,
    }),
}  # fmt: skip
"""LM Studio's REST API v0, and zed issue 33938."""
TGI = {
    "/v1/models": models({"id": "tgi", "owned_by": "tgi"}),
    "/info": {"model_id": "q", "max_input_tokens": 4000, "max_total_tokens": 4096},
}
"""Text Generation Inference's API: Info."""
STRANGER = {"/v1/models": models({"id": "x", "owned_by": 7}), "/props": [1], "/info": "no"}


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


def serves(site: Site, pages: Mapping[str, object], **headers: str) -> str:
    for path, page in pages.items():
        text = page if isinstance(page, str) else json.dumps(page)
        site.add(path, text, content_type="application/json", headers=headers)
    return site.url + "/v1"


@pytest.mark.parametrize(
    ("pages", "server"),
    [
        (LLAMA_CPP, Server("llama.cpp", ("local",), 4096, 2)),
        (VLLM, Server("vLLM", ("tiny",), 1024)),
        (SGLANG, Server("SGLang", ("q",), 32768)),
        (OLLAMA, Server("Ollama", ("qwen3:8b", "b"), 4096)),
        (LM_STUDIO, Server("LM Studio", ("unnamed",), 4096)),
        (TGI, Server("TGI", ("tgi",), 4096)),
        (STRANGER, Server("unknown", ("x",))),
        ({}, Server()),
    ],
)
async def test_a_server_is_known_by_what_it_answers(
    site: Site, pages: Mapping[str, object], server: Server
) -> None:
    assert await server_at(serves(site, pages)) == server


@pytest.mark.parametrize("path", ["/props", "/api/ps", "/api/v0/models"])
async def test_a_server_that_hides_its_name_is_known_by_its_own_paths(
    site: Site, path: str
) -> None:
    pages = next(p for p in (LLAMA_CPP, OLLAMA, LM_STUDIO) if path in p)
    named = await server_at(serves(site, pages))
    listed = models({"id": "unnamed", "owned_by": "proxy"})
    assert await server_at(serves(site, {"/v1/models": listed})) == named._replace(
        models=("unnamed",)
    )


async def test_keys_go_with_the_questions_and_nowhere_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-server")
    await server_at(serves(site, LLAMA_CPP))
    assert {each.headers.get("authorization") for each in site.asked} == {
        "Bearer sk-of-this-server"
    }


async def test_a_servers_one_model_needs_no_name(site: Site) -> None:
    assert await served_model(serves(site, LLAMA_CPP)) == "local"
    with pytest.raises(ConfigurationError, match=r"has 2 models: .* qwen3:8b, b"):
        await served_model(serves(site, OLLAMA))
    with pytest.raises(ConfigurationError, match=r"9 refuses the connection.* is up; .* --model N"):
        await served_model("http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    "hostile",
    ["[" * 100_000, "{}" * 50_000, '{"data": 5}', '{"data": [5, null, {"id": {"a": 1}}]}', ""],
)
async def test_what_a_hostile_server_answers_is_no_fault(site: Site, hostile: str) -> None:
    paths = ("/v1/models", "/props", "/api/ps", "/api/v0/models", "/info")
    server = await server_at(serves(site, dict.fromkeys(paths, hostile)))
    assert (server.kind, server.context) == ("unknown", None)
