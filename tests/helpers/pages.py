"""A page of HTML, parsed and checked, and texts that a careless writer would break it with."""

from html.parser import HTMLParser

import numpy as np
from hypothesis import strategies as st

from experiments.harness import html_page
from experiments.harness.setting import Setting
from experiments.harness.source import open_source
from lstm_sched.data.series import Series

VOID = {"meta", "img", "link", "br", "hr"}


NASTY = [
    "<script>alert(1)</script>",
    '"quote" & $x_1$',
    "' onerror='alert(1)",
    "]]></style></title></svg><!--",
    "&lt;&amp;amp;",
    "日本 Größe °C",
    "",
]


TEXTS = st.one_of(st.sampled_from(NASTY), st.text())


class Parsed(HTMLParser):
    """Tags with their attributes, text by the tag that holds it; fails where a tag is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.text.append((tag, ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.text[-1][0] == self.open[-1]:
            self.text[-1] = (self.open[-1], self.text[-1][1] + data)

    def all(self, tag):
        return [text for name, text in self.text if name == tag]

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def shown(text):
    """What a page can show of a text."""
    return html_page.NOT_HTML.sub("\ufffd", text)


SETTING = Setting(data=("ar",), window=4, batch=32)


def named(columns, name="ar"):
    steps = np.arange(60)
    values_RF = np.sin(steps[:, None] + np.arange(len(columns))[None])
    series = Series(
        name=name,
        columns=columns,
        target=columns[0],
        values_RF=values_RF,
        segment_R=np.zeros(60, int),
        date_R=steps,
        times_R=steps,
    )
    return open_source(SETTING, name, series)
