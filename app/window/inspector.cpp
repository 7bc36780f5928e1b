#include "app/window/inspector.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/window/head_query.h"
#include "app/window/theme_style.h"
#include "core/attention/attention_map.h"
#include "core/tokenizer/prompt_builder.h"
#include "views/token_text.h"

namespace headscope::app {
namespace {

constexpr size_t kTopKeys = 7;

/// Share of heads whose value is lower, in percent.
double percentile(const std::vector<double>& values, double value) {
  const auto below = std::count_if(values.begin(), values.end(), [&](double v) { return v < value; });
  return values.size() > 1 ? 100.0 * static_cast<double>(below) / static_cast<double>(values.size() - 1) : 100.0;
}

QString label(const core::Prompt& prompt, int64_t token) {
  return QString::fromStdString(views::tokenLabel(prompt.tokens[static_cast<size_t>(token)]));
}

}  // namespace

Inspector::Inspector(AppState& state, QWidget* parent) : QScrollArea(parent), state_(state), sheet_(new FactSheet) {
  setObjectName("inspector");
  setFrameShape(QFrame::NoFrame);
  setWidgetResizable(true);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  sheet_->setTheme(state.theme());
  setWidget(sheet_);
  viewport()->setAutoFillBackground(false);
  sheet_->setAutoFillBackground(false);
  refillSoon_.setSingleShot(true);
  refillSoon_.setInterval(0);
  connect(&refillSoon_, &QTimer::timeout, this, &Inspector::refill);
  const auto soon = [this] { refillSoon_.start(); };
  connect(&state, &AppState::selectionChanged, this, soon);
  connect(&state, &AppState::rowChanged, this, soon);
  connect(&state, &AppState::traceChanged, this, soon);
  connect(&state, &AppState::scoresChanged, this, soon);
  connect(&state, &AppState::nextTokensChanged, this, soon);
  connect(&state, &AppState::modelChanged, this, soon);
  connect(&state, &AppState::themeChanged, this, [this] {
    sheet_->setTheme(state_.theme());
    refill();
  });
  connect(sheet_, &FactSheet::clicked, this, [this](int section, int row) {
    if (section != 1 || static_cast<size_t>(row) >= rowKeys_.size() || rowKeys_[static_cast<size_t>(row)] < 0) return;
    core::Selection next = state_.selection();
    next.key = rowKeys_[static_cast<size_t>(row)];
    state_.select(next);
  });
  refill();
}

FactSection Inspector::headSection() const {
  const core::Selection& s = state_.selection();
  FactSection section;
  section.title = state_.opened().model ? tr("Head %1.%2").arg(s.layer).arg(s.head) : tr("Head");
  section.tip = tr("The selected head: layer.head, both counted from 0");
  const auto trace = state_.trace();
  const bool isThere = trace && s.layer >= 0 && s.layer < trace->layersRun() && s.head >= 0 && s.head < trace->spec().heads;
  const std::string mechanism = isThere ? core::AttentionMap(trace, s.ref()).mechanism() : std::string();
  if (!mechanism.empty())
    section.tip += tr("; it ran under %1, and all of this is of the map that it used").arg(QString::fromStdString(mechanism));
  const auto scores = state_.scores();
  if (!scores || s.layer >= scores->layers()) {
    section.emptyText = state_.trace() ? tr("Scores are being computed") : tr("No prompt was run yet");
    return section;
  }
  for (const char* name : {"previous", "induction", "duplicate", "self", "first", "entropy", "distance", "keys.0.9"}) {
    if (!scores->has(name)) continue;
    const double value = scores->at(name, s.ref()), place = percentile(scores->values(name), value);
    Fact fact;
    fact.label = QString::fromStdString(scoreTitle(name));
    fact.value = QString::fromStdString(columnNumber(value));
    fact.bar = std::isnan(value) ? 0 : place / 100;
    fact.barColor = state_.theme().accent;
    fact.tip = tr("%1\n%2; above %3 % of all heads (the bar)")
                   .arg(QString::fromStdString(scoreDefinition(name)))
                   .arg(value, 0, 'g', 6)
                   .arg(place, 0, 'f', 0);
    if (std::isnan(value) && isThere && core::AttentionMap(trace, s.ref()).isSigned())
      fact.tip = tr("%1\nNot defined for a signed map").arg(QString::fromStdString(scoreDefinition(name)));
    else if (std::isnan(value))
      fact.tip = tr("%1\nNot defined for this prompt: no token comes twice").arg(QString::fromStdString(scoreDefinition(name)));
    section.facts.push_back(fact);
  }
  return section;
}

FactSection Inspector::rowSection() {
  FactSection section;
  section.title = tr("Row");
  section.aside = tr("top keys");
  section.tip = tr("Where the selected query looks: its largest weights. Click one to select the key");
  rowKeys_.clear();
  const std::vector<float>& weights = state_.rowWeights();
  const auto trace = state_.trace();
  if (weights.empty() || !trace) {
    section.emptyText = trace && state_.selection().query >= 0 ? tr("Being computed") : tr("No query is selected");
    return section;
  }
  const bool isSigned = core::AttentionMap(trace, state_.selection().ref()).isSigned();
  float largest = 1;  // what a whole bar is: signed weights have no scale of their own
  for (size_t j = 0; isSigned && j < weights.size(); ++j) largest = std::max(j > 0 ? largest : 0, std::abs(weights[j]));
  if (!(largest > 0)) largest = 1;
  std::vector<int64_t> order(weights.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const size_t top = std::min(kTopKeys, order.size());
  const auto byWeight = [&](int64_t a, int64_t b) {
    const float x = std::abs(weights[static_cast<size_t>(a)]), y = std::abs(weights[static_cast<size_t>(b)]);
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top), order.end(), byWeight);
  const int64_t query = state_.selection().query;
  for (size_t i = 0; i < top; ++i) {
    const int64_t key = order[i];
    const double w = weights[static_cast<size_t>(key)];
    if (w == 0) break;
    Fact fact;
    fact.label = label(trace->prompt(), key);
    fact.aside = QString::number(key);
    fact.value = isSigned ? QString::number(w, 'g', 3) : QString::number(w, 'f', 3);
    fact.bar = std::abs(w) / static_cast<double>(largest), fact.barColor = state_.theme().key;
    fact.isMono = fact.isFirstBar = true;
    fact.tip = tr("Weight of query %1 on key %2: %3").arg(query).arg(key).arg(w, 0, 'g', 6);
    section.facts.push_back(fact);
    rowKeys_.push_back(key);
  }
  const auto sum = [&](const QString& name, const QString& value, double bar, const QString& tip) {
    Fact fact;
    fact.label = name, fact.value = value, fact.bar = bar, fact.barColor = state_.theme().inkSecond, fact.tip = tip;
    section.facts.push_back(fact);
    rowKeys_.push_back(-1);
  };
  if (isSigned) return section;  // no shares of a whole
  double entropy = 0;
  int64_t seen = 0;
  for (const float w : weights) {
    if (w > 0) entropy -= w * std::log2(static_cast<double>(w)), ++seen;
  }
  sum(tr("Entropy (bits)"), QString::number(std::max(0.0, entropy), 'f', 2), seen > 1 ? entropy / std::log2(static_cast<double>(seen)) : 0,
      tr("How spread this row is: %1 bits of at most log2 of the keys it sees").arg(entropy, 0, 'g', 5));
  sum(tr("On the first token"), QString::number(weights[0], 'f', 3), weights[0], tr("Weight on token 0"));
  sum(tr("On itself"), QString::number(weights[static_cast<size_t>(query)], 'f', 3), weights[static_cast<size_t>(query)],
      tr("Weight on the query's own token"));
  if (query > 0)
    sum(tr("On the one before"), QString::number(weights[static_cast<size_t>(query - 1)], 'f', 3), weights[static_cast<size_t>(query - 1)],
        tr("Weight on the token before the query"));
  return section;
}

FactSection Inspector::nextSection() const {
  FactSection section;
  const auto trace = state_.trace();
  if (!state_.opened().model) {
    section.title = tr("Next token");
    return section;
  }
  const core::ModelSpec& spec = state_.opened().model->spec();
  const int64_t query = state_.selection().query;
  if (spec.input == core::InputKind::Image) {
    section.title = tr("Class");
    section.tip = tr("What the model takes the picture for, with probabilities");
    section.emptyText = tr("This checkpoint has no classifier");
  } else if (!spec.isCausal) {
    const bool isThere = trace && query >= 0 && query < trace->count();
    section.title = isThere ? tr("Fills for \"%1\"").arg(label(trace->prompt(), query)) : tr("Fills");
    section.tip = tr("The words that the model would put at the query, with their probabilities");
    section.emptyText = tr("This checkpoint has no masked-word head");
  } else {
    section.title = tr("Next token");
    section.tip = tr("The model's most likely tokens after the query, with their probabilities");
    section.emptyText = tr("This checkpoint has no unembedding");
  }
  if (!trace || trace->hasLogits()) section.emptyText.clear();
  if (!trace || !trace->hasLogits()) return section;
  const auto& tokenizer = state_.opened().tokenizer;
  const std::vector<std::string>& names = state_.opened().classNames;
  for (const core::NextToken& next : state_.nextTokens()) {
    Fact fact;
    fact.label = QString::fromStdString(views::tokenLabel(core::tokenOf(tokenizer.get(), next.id)));
    if (spec.input == core::InputKind::Image) {
      const auto id = static_cast<size_t>(next.id);
      const bool isNamed = id < names.size() && !names[id].empty();
      fact.label = isNamed ? QString::fromStdString(views::plainText(names[id])) : tr("class %1").arg(next.id);
    }
    fact.value = QString::number(next.probability, 'f', 3);
    fact.bar = next.probability, fact.barColor = state_.theme().value;
    fact.isMono = fact.isFirstBar = true;
    fact.tip = tr("Id %1, probability %2").arg(next.id).arg(next.probability, 0, 'g', 6);
    section.facts.push_back(fact);
  }
  return section;
}

void Inspector::refill() {
  FactSection head = headSection();
  const auto trace = state_.trace();
  const int64_t query = state_.selection().query;
  if (trace && query >= 0 && query < trace->count()) head.aside = tr("query \"%1\"").arg(label(trace->prompt(), query));
  sheet_->setSections({head, rowSection(), nextSection()});
  sheet_->setMinimumHeight(sheet_->sizeHint().height());
}

}  // namespace headscope::app
