"""A model that does as it is told: a loopback server of the APIs that AI tools speak (Anthropic Messages, OpenAI
Responses and Chat Completions, Gemini). Its first turn is one tool call, every later turn ends the conversation."""

import http.server
import json
import threading


class Model:
    """Serves until the process ends. `call` is {"name", "input"}; `asked` counts the turns."""

    def __init__(self, call):
        self.call, self.asked = call, 0
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.send({"data": [{"id": "told", "object": "model"}], "object": "list", "models": []})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                api = next((api for part, api in APIS if part in self.path), None)
                if api is None:
                    return self.send({"input_tokens": 1, "totalTokens": 1})
                model.asked += 1
                answer, events = api(model.call, body)
                if not events or not (body.get("stream") or "stream" in self.path.lower()):
                    return self.send(answer)
                lines = [(f"event: {name}\n" if name else "") + f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n" for name, data in events]
                self.send("".join(lines), "text/event-stream")

            def send(self, value, kind="application/json"):
                data = (value if isinstance(value, str) else json.dumps(value)).encode()
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def wanted(call, names, over):
    """The call, if its tool is offered and it has not been made yet."""
    return call if call["name"] in names and not over else None


def anthropic(call, body):
    if not isinstance(body.get("messages"), list) or "max_tokens" not in body:
        return {"input_tokens": 1}, []
    contents = [part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]]
    made = wanted(call, [tool.get("name") for tool in body.get("tools", [])], any(part.get("type") == "tool_result" for part in contents))
    block = {"type": "tool_use", "id": "toolu_told", **call} if made else {"type": "text", "text": "done"}
    reason = "tool_use" if made else "end_turn"
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "msg_told", "type": "message", "role": "assistant", "model": body.get("model"), "stop_sequence": None, "usage": usage}
    if made:
        start, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(call["input"])}
    else:
        start, delta = {**block, "text": ""}, {"type": "text_delta", "text": "done"}
    events = [
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return {**head, "content": [block], "stop_reason": reason}, [(event["type"], event) for event in events]


def responses(call, body):
    items = [item for item in body.get("input", []) if isinstance(item, dict)]
    names = [tool.get("name") for group in body.get("tools") or [] for tool in group.get("tools", [group])]
    made = wanted(call, names, any(str(item.get("type")).endswith("_output") for item in items))
    if made:
        item = {"type": "function_call", "id": "fc_told", "call_id": "call_told", "status": "completed", "name": call["name"], "arguments": json.dumps(call["input"])}
    else:
        item = {"type": "message", "id": "msg_told", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "done", "annotations": []}]}
    usage = {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2}
    begun = {"id": "resp_told", "object": "response", "model": body.get("model"), "status": "in_progress", "output": []}
    done = {**begun, "status": "completed", "output": [item], "usage": usage}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    return done, [(event["type"], event) for event in events]


def chat(call, body):
    names = [tool.get("function", {}).get("name") for tool in body.get("tools") or []]
    made = wanted(call, names, any(message.get("role") == "tool" for message in body.get("messages", [])))
    message = {"role": "assistant", "content": None if made else "done"}
    if made:
        function = {"name": call["name"], "arguments": json.dumps(call["input"])}
        message["tool_calls"] = [{"index": 0, "id": "call_told", "type": "function", "function": function}]
    finish = "tool_calls" if made else "stop"
    head = {"id": "chat_told", "created": 1, "model": body.get("model")}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    piece = lambda delta, reason: {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    events = [(None, piece(message, None)), (None, piece({}, finish)), (None, {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}), (None, "[DONE]")]
    whole = {**head, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
    return whole, events


def gemini(call, body):
    parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
    names = [tool.get("name") for group in body.get("tools") or [] for tool in group.get("functionDeclarations", [])]
    made = wanted(call, names, any("functionResponse" in part for part in parts))
    part = {"functionCall": {"id": "call_told", "name": call["name"], "args": call["input"]}} if made else {"text": "done"}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    answer = {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [part]}}], "modelVersion": "told", "usageMetadata": usage}
    return answer, [(None, answer)]


APIS = [("/count_tokens", lambda call, body: ({"input_tokens": 1}, [])), (":countTokens", lambda call, body: ({"totalTokens": 1}, [])),
        ("/messages", anthropic), ("/responses", responses), ("/chat/completions", chat), ("enerateContent", gemini)]
