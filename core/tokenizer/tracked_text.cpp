#include "core/tokenizer/tracked_text.h"

#include <algorithm>

#include "core/tokenizer/unicode.h"

namespace headscope::core {

void NormalText::transform(std::span<const Change> changes, size_t removedAtStart) {
  std::string out;
  std::vector<Origin> outOrigin;
  out.reserve(text.size());
  outOrigin.reserve(text.size());
  size_t reading = 0;  // the next character of the old text to be replaced or removed
  const auto take = [&](size_t count) {
    const size_t from = reading;
    for (; count > 0 && reading < text.size(); --count) reading += utf8Length(text[reading]);
    return reading - from;
  };
  size_t offset = take(removedAtStart);
  for (const Change& step : changes) {
    Origin place{whole.begin, whole.begin};
    if (!origin.empty() && (step.change <= 0 || offset > 0)) {
      place = origin[std::min(step.change > 0 ? offset - 1 : offset, origin.size() - 1)];
    }
    if (step.change <= 0) offset += take(1 + static_cast<size_t>(-step.change));
    const size_t before = out.size();
    appendUtf8(out, step.c);
    outOrigin.insert(outOrigin.end(), out.size() - before, place);
  }
  text = std::move(out);
  origin = std::move(outOrigin);
}

void NormalText::filter(const std::function<bool(char32_t)>& keep) {
  size_t to = 0;
  for (size_t at = 0; at < text.size();) {
    const DecodedChar c = decodeUtf8(text, at);
    if (keep(c.value)) {
      for (uint32_t i = 0; i < c.length; ++i, ++to) {
        text[to] = text[at + i];
        origin[to] = origin[at + i];
      }
    }
    at += c.length;
  }
  text.resize(to);
  origin.resize(to);
}

void NormalText::prepend(std::string_view prefix) {
  if (text.empty()) return;
  origin.insert(origin.begin(), prefix.size(), Origin(origin.front()));
  text.insert(0, prefix);
}

void NormalText::append(std::string_view suffix) {
  if (text.empty()) return;
  origin.insert(origin.end(), suffix.size(), Origin(origin.back()));
  text.append(suffix);
}

TrackedText::TrackedText(std::string_view text) : text_(text), origin_(text.size()) {
  for (size_t at = 0; at < text.size();) {
    const uint32_t length = utf8Length(text[at]);
    const Origin place{static_cast<uint32_t>(at), static_cast<uint32_t>(at + length)};
    for (uint32_t i = 0; i < length; ++i) origin_[at + i] = place;
    at += length;
  }
  splits_.push_back({0, text.size(), {0, static_cast<uint32_t>(text.size())}, -1});
}

void TrackedText::cut(Job& job, const std::function<void(std::string_view, const Emit&)>& cutter) {
  std::vector<TextSplit> next;
  next.reserve(splits_.size());
  TextSplit current{};
  const Emit emit = [&](size_t begin, size_t end, int32_t tokenId) {
    if (begin >= end) return;
    const size_t from = current.begin + begin, to = current.begin + end;
    next.push_back({from, to, {origin_[from].begin, origin_[to - 1].end}, tokenId});
  };
  size_t untilCheck = 1024;
  for (const TextSplit& split : splits_) {
    if (--untilCheck == 0) {
      job.checkpoint();
      untilCheck = 1024;
    }
    if (split.tokenId >= 0) {
      next.push_back(split);
      continue;
    }
    current = split;
    cutter(textOf(split), emit);
  }
  splits_ = std::move(next);
}

void TrackedText::rewrite(Job& job, const std::function<void(NormalText&)>& change) {
  std::string text;
  std::vector<Origin> origin;
  text.reserve(text_.size());
  origin.reserve(origin_.size());
  size_t untilCheck = 256;
  for (TextSplit& split : splits_) {
    if (--untilCheck == 0) {
      job.checkpoint();
      untilCheck = 256;
    }
    const size_t begin = text.size();
    const std::span<const Origin> places = originOf(split);
    if (split.tokenId >= 0) {
      text += textOf(split);
      origin.insert(origin.end(), places.begin(), places.end());
    } else {
      NormalText part{std::string(textOf(split)), {places.begin(), places.end()}, split.whole};
      change(part);
      text += part.text;
      origin.insert(origin.end(), part.origin.begin(), part.origin.end());
    }
    split.begin = begin;
    split.end = text.size();
  }
  text_ = std::move(text);
  origin_ = std::move(origin);
}

void TrackedText::mapCharacters(Job& job, const std::function<void(std::string&, std::string_view)>& append) {
  std::string text;
  std::vector<Origin> origin;
  text.reserve(text_.size() + text_.size() / 8);
  origin.reserve(text.capacity());
  size_t untilCheck = 4096;
  for (TextSplit& split : splits_) {
    if (--untilCheck == 0) {
      job.checkpoint();
      untilCheck = 4096;
    }
    const size_t begin = text.size();
    const std::span<const Origin> places = originOf(split);
    const std::string_view old = textOf(split);
    if (split.tokenId >= 0) {
      text += old;
      origin.insert(origin.end(), places.begin(), places.end());
    } else {
      for (size_t at = 0; at < old.size();) {
        const uint32_t length = utf8Length(old[at]);
        const size_t before = text.size();
        append(text, old.substr(at, length));
        origin.resize(origin.size() + (text.size() - before), places[at]);
        at += length;
      }
    }
    split.begin = begin;
    split.end = text.size();
  }
  text_ = std::move(text);
  origin_ = std::move(origin);
}

}  // namespace headscope::core
