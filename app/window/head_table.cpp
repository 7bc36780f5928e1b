#include "app/window/head_table.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPainter>
#include <QScrollBar>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>

#include "app/window/theme_style.h"
#include "core/attention/telling_heads.h"

namespace headscope::app {

namespace {

bool isOfKeys(const std::string& score) { return score.starts_with("keys") || score.starts_with("weighted_keys"); }

/// Some head has it on this prompt: induction needs a token that comes twice.
bool hasNumbers(const core::HeadScores& scores, const std::string& name) {
  if (!scores.has(name)) return false;
  const auto& values = scores.values(name);
  return std::any_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

core::HeadRef bestInduction(const core::HeadScores& scores) {
  core::HeadRef best{-1, -1};
  double most = 0;
  for (int64_t layer = 0; layer < scores.layers(); ++layer) {
    for (int64_t head = 0; head < scores.heads(); ++head) {
      const double value = scores.at("induction", {layer, head});
      if (value > most) most = value, best = {layer, head};
    }
  }
  return best;
}

}  // namespace

HeadTableModel::HeadTableModel(AppState& state, QObject* parent) : QAbstractTableModel(parent), state_(state) { rebuild(); }

double HeadTableModel::value(core::HeadRef head) const {
  const core::HeadScores* scores = state_.scores().get();
  if (!scores || score_.empty() || !scores->has(score_) || head.layer >= scores->layers()) return NAN;
  return scores->at(score_, head);
}

void HeadTableModel::rebuild() {
  beginResetModel();
  rows_.clear();
  for (int64_t layer = 0; layer < state_.layers(); ++layer) {
    for (int64_t head = 0; head < state_.heads(); ++head) {
      if (query_.matches({layer, head}, state_.scores().get())) rows_.push_back({layer, head});
    }
  }
  if (!score_.empty()) {
    std::stable_sort(rows_.begin(), rows_.end(), [&](core::HeadRef a, core::HeadRef b) {
      const double x = value(a), y = value(b);
      if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
      return isAscending_ ? x < y : x > y;
    });
  } else if (isAscending_) {
    std::reverse(rows_.begin(), rows_.end());
  }
  endResetModel();
}

void HeadTableModel::setScore(const QString& name, bool isAscending) {
  score_ = name.toStdString();
  isAscending_ = isAscending;
  rebuild();
}

void HeadTableModel::setQuery(HeadQuery query) {
  query_ = std::move(query);
  rebuild();
}

int HeadTableModel::rowOf(core::HeadRef head) const {
  const auto found = std::find(rows_.begin(), rows_.end(), head);
  return found == rows_.end() ? -1 : static_cast<int>(found - rows_.begin());
}

QVariant HeadTableModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount()) return {};
  const core::HeadRef head = headAt(index.row());
  const double v = value(head);
  switch (role) {
    case Qt::DisplayRole:
      if (index.column() == 0) return QStringLiteral("%1.%2").arg(head.layer).arg(head.head);
      return score_.empty() || !state_.scores() ? QString() : QString::fromStdString(columnNumber(v));
    case Qt::ToolTipRole:
      if (score_.empty()) return tr("Layer %1, head %2").arg(head.layer).arg(head.head);
      return tr("Layer %1, head %2: %3 %4\n%5")
          .arg(head.layer)
          .arg(head.head)
          .arg(QString::fromStdString(scoreTitle(score_)).toLower())
          .arg(v, 0, 'g', 6)
          .arg(QString::fromStdString(scoreDefinition(score_)));
    case kBarRole:
      return std::isnan(v) ? -1.0 : barShare(*state_.scores(), score_, v);
    case kLayerRole:
      return QVariant::fromValue<qlonglong>(head.layer);
    case kHeadRole:
      return QVariant::fromValue<qlonglong>(head.head);
    default:
      return {};
  }
}

void HeadDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
  const views::Theme& theme = state_.theme();
  const core::HeadRef head{index.data(HeadTableModel::kLayerRole).toLongLong(), index.data(HeadTableModel::kHeadRole).toLongLong()};
  const core::Selection& selection = state_.selection();
  const bool isSelected = selection.ref() == head;
  const bool isBrushed = std::find(selection.brushed.begin(), selection.brushed.end(), head) != selection.brushed.end();
  const bool isHovered = state_.hover().layer == head.layer && state_.hover().head == head.head;
  painter->save();
  painter->setRenderHint(QPainter::Antialiasing);
  const QRectF r = option.rect;
  if (isSelected || isBrushed || isHovered || option.state.testFlag(QStyle::State_MouseOver)) painter->fillRect(r, toQt(theme.raised));
  painter->setFont(monoFont(theme.monoSize));
  painter->setPen(toQt(theme.ink));
  if (index.column() == 0) {
    if (isSelected) painter->fillRect(QRectF(r.left() + 4, r.top() + 2, 2, r.height() - 4), toQt(theme.accent));
    painter->drawText(r.adjusted(16, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter, index.data().toString());
  } else {
    const double bar = index.data(HeadTableModel::kBarRole).toDouble(), room = r.width() - 16 - 64;
    if (bar >= 0 && room > 8) {
      painter->setPen(Qt::NoPen);
      QColor grey = toQt(theme.inkSecond);
      grey.setAlphaF(0.45f);
      painter->setBrush(isSelected || isBrushed ? toQt(theme.accent) : grey);
      painter->drawRoundedRect(QRectF(r.left(), r.center().y() - 3, std::max(2.0, std::min(bar, 1.0) * room), 6), 1, 1);
    }
    painter->setPen(toQt(theme.ink));
    painter->drawText(r.adjusted(0, 0, -16, 0), Qt::AlignRight | Qt::AlignVCenter, index.data().toString());
  }
  painter->restore();
}

void HeadTableView::keyPressEvent(QKeyEvent* event) { event->ignore(); }

HeadPanel::HeadPanel(AppState& state, QWidget* parent) : QWidget(parent), state_(state) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(4);
  auto* top = new QHBoxLayout;
  top->setContentsMargins(16, 8, 12, 0);
  title_ = new QLabel(tr("Heads"));
  scoreButton_ = new QToolButton;
  scoreButton_->setObjectName("scoreButton");
  scoreButton_->setPopupMode(QToolButton::InstantPopup);
  scoreButton_->setToolTip(tr("Score that the heads are sorted by; choose it again to turn the order round"));
  scoreButton_->setMenu(new QMenu(scoreButton_));
  connect(scoreButton_->menu(), &QMenu::aboutToShow, this, &HeadPanel::fillMenu);
  top->addWidget(title_);
  top->addStretch();
  top->addWidget(scoreButton_);
  column->addLayout(top);

  filter_ = new QLineEdit;
  filter_->setObjectName("headFilter");
  filter_->setPlaceholderText(tr("Find: 3.5, induction>0.4"));
  filter_->setToolTip(tr("Show heads by place or score: 3.5, 3.*, induction>0.4, several with commas (/)"));
  filter_->setClearButtonEnabled(true);
  auto* filterRow = new QHBoxLayout;
  filterRow->setContentsMargins(12, 0, 12, 4);
  filterRow->addWidget(filter_);
  column->addLayout(filterRow);

  model_ = new HeadTableModel(state, this);
  table_ = new HeadTableView;
  table_->setObjectName("headTable");
  table_->setModel(model_);
  table_->setItemDelegate(new HeadDelegate(state, table_));
  table_->setShowGrid(false);
  table_->setCornerButtonEnabled(false);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->horizontalHeader()->hide();
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
  table_->verticalHeader()->setMinimumSectionSize(8);
  table_->horizontalHeader()->setMinimumSectionSize(8);
  table_->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Fixed);
  table_->horizontalHeader()->resizeSection(0, 64);
  table_->horizontalHeader()->setSectionResizeMode(1, QHeaderView::Stretch);
  table_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  table_->setMouseTracking(true);
  table_->setFocusPolicy(Qt::ClickFocus);
  column->addWidget(table_, 1);

  connect(filter_, &QLineEdit::textChanged, this, &HeadPanel::applyFilter);
  connect(filter_, &QLineEdit::returnPressed, this, [this] {
    if (model_->rowCount() == 0) return;
    core::Selection next = state_.selection();
    next.layer = model_->headAt(0).layer, next.head = model_->headAt(0).head, next.brushed.clear();
    state_.select(next);
  });
  connect(table_, &QTableView::clicked, this, [this](const QModelIndex& index) {
    core::Selection next = state_.selection();
    next.layer = model_->headAt(index.row()).layer, next.head = model_->headAt(index.row()).head, next.brushed.clear();
    state_.select(next);
  });
  connect(&state, &AppState::modelChanged, this, [this] {
    model_->rebuild();
    sortByWhatTells();
  });
  connect(&state, &AppState::scoresChanged, this, [this] {
    model_->rebuild();
    sortByWhatTells();
    followSelection();
  });
  connect(&state, &AppState::selectionChanged, this, &HeadPanel::followSelection);
  connect(&state, &AppState::hoverChanged, table_->viewport(), qOverload<>(&QWidget::update));
  connect(&state, &AppState::themeChanged, this, &HeadPanel::applyTheme);
  show("previous", false);
  applyTheme();
}

void HeadPanel::applyTheme() {
  title_->setFont(sansFont(state_.theme().headingSize, true));
  scoreButton_->setFont(sansFont(state_.theme().smallSize));
  table_->verticalHeader()->setDefaultSectionSize(static_cast<int>(state_.theme().listRowHeight));
  table_->viewport()->update();
}

void HeadPanel::setScore(const QString& name) {
  const bool isAgain = name.toStdString() == model_->score();
  wanted_ = name.toStdString(), isWantedAscending_ = isAgain && !model_->isAscending();
  show(*wanted_, isWantedAscending_);
  if (isOfKeys(*wanted_)) state_.wantKeyScores();
}

void HeadPanel::show(const std::string& score, bool isAscending) {
  if (score != model_->score() || isAscending != model_->isAscending()) model_->setScore(QString::fromStdString(score), isAscending);
  const QString title = score.empty() ? tr("by index") : QString::fromStdString(scoreTitle(score)).toLower();
  scoreButton_->setText(title + (isAscending ? QStringLiteral(" ▴") : QStringLiteral(" ▾")));
  followSelection();
}

void HeadPanel::sortByWhatTells() {
  const auto scores = state_.scores();
  if (!scores) {
    const auto& model = state_.opened().base;
    if (!wanted_ && model && model != chosenFor_) show(model->spec().isCausal ? "previous" : "entropy", !model->spec().isCausal);
    return;
  }
  // Who asks for heads by a score sees that score.
  if (const HeadQuery& query = model_->query(); hasNumbers(*scores, query.score())) {
    show(query.score(), query.wantsLow());
    chosenFor_.reset();
    return;
  }
  if (wanted_ && (wanted_->empty() || isOfKeys(*wanted_) || hasNumbers(*scores, *wanted_))) {
    show(*wanted_, isWantedAscending_);
    return;
  }
  if (chosenFor_ == state_.opened().base && (model_->score().empty() || hasNumbers(*scores, model_->score()))) return;
  chosenFor_ = state_.opened().base;
  // The window selects the clearest induction head first where there is one: then it should stand on top. A model that sees both
  // ways has neither induction nor previous-token heads by these scores: there the most decided heads come first.
  const bool isInduction = hasNumbers(*scores, "induction") && core::firstHeadToShow(*scores) == bestInduction(*scores);
  if (isInduction || hasNumbers(*scores, "previous")) {
    show(isInduction ? "induction" : "previous", false);
  } else {
    show("entropy", true);
  }
}

void HeadPanel::fillMenu() {
  QMenu* menu = scoreButton_->menu();
  menu->clear();
  menu->setToolTipsVisible(true);
  const auto add = [&](const QString& name, const QString& title, const QString& tip) {
    QAction* action = menu->addAction(title, this, [this, name] { setScore(name); });
    action->setCheckable(true);
    action->setChecked(name.toStdString() == model_->score());
    action->setToolTip(tip);
  };
  add({}, tr("by index"), tr("Layer by layer"));
  std::vector<std::string> names;
  if (state_.scores()) names = state_.scores()->names();
  if (!names.empty() && !state_.scores()->has("keys.0.9"))
    for (const char* name : {"keys.0.8", "keys.0.9", "keys.0.95", "keys.0.99", "keys.0.999"}) names.emplace_back(name);
  for (const std::string& name : names)
    add(QString::fromStdString(name), QString::fromStdString(scoreTitle(name)), QString::fromStdString(scoreDefinition(name)));
}

void HeadPanel::applyFilter(const QString& text) {
  std::vector<std::string> names;
  if (state_.scores()) names = state_.scores()->names();
  try {
    model_->setQuery(HeadQuery::parse(text.toStdString(), names));
    filter_->setStyleSheet({});
    sortByWhatTells();
  } catch (const core::Error& e) {
    filter_->setStyleSheet(QStringLiteral("color: %1").arg(toQt(state_.theme().error).name()));
    filter_->setToolTip(describe(e));
    return;
  }
  filter_->setToolTip(tr("Show heads by place or score: 3.5, 3.*, induction>0.4, several with commas (/)"));
  followSelection();
}

void HeadPanel::followSelection() {
  table_->viewport()->update();
  const int row = model_->rowOf(state_.selection().ref());
  if (row < 0) {
    table_->clearSelection();
    return;
  }
  table_->scrollTo(model_->index(row, 0));
}

}  // namespace headscope::app
