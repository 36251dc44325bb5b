"""Gradio's chat with plain text in it: what stands there is what was said, letter by letter.

Gradio's own takes text for HTML and straightens its lines, and lets the tab send it components to build.
"""

import html
from typing import Any

import gradio as gr
from gradio.components.chatbot import ChatbotDataMessages, Message, TextMessage

Chat = list[dict[str, str]]


class PlainChat(gr.Chatbot):
    """A chat whose value is a list of {"role", "content"}, both text."""

    is_template = True  # drawn as a plain chat

    def preprocess(self, payload: Any) -> Chat:
        """The messages that the tab holds; what is no text of the user or the assistant is left out."""
        messages = payload.root if isinstance(payload, ChatbotDataMessages) else []
        return [
            {"role": message.role, "content": "".join(unescaped(part) for part in message.content)}
            for message in messages
            if message.role in ("user", "assistant")
        ]

    def postprocess(self, value: Any) -> ChatbotDataMessages:
        """The messages with their text escaped."""
        return ChatbotDataMessages(
            root=[
                Message(role=message["role"], content=[TextMessage(text=html.escape(message["content"], quote=False))])
                for message in value or []
            ]
        )


def unescaped(part: Any) -> str:
    """The text of a part of a message; empty for a file or a component."""
    return html.unescape(part.text) if isinstance(part, TextMessage) else ""
