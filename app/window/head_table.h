#pragma once
// The head table: every head with one score as a bar in the cell, sorted by any score, filtered by a HeadQuery. A model for
// Qt's views, a delegate that paints the bar, and the panel that holds them with the score menu and the filter box.
#include <QAbstractTableModel>
#include <QStyledItemDelegate>
#include <QTableView>
#include <QWidget>
#include <optional>
#include <string>

#include "app/window/app_state.h"
#include "app/window/head_query.h"

class QLabel;
class QLineEdit;
class QToolButton;

namespace headscope::app {

class HeadTableModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Roles { kBarRole = Qt::UserRole, kLayerRole, kHeadRole };
  explicit HeadTableModel(AppState& state, QObject* parent = nullptr);

  int rowCount(const QModelIndex& parent = {}) const override { return parent.isValid() ? 0 : static_cast<int>(rows_.size()); }
  int columnCount(const QModelIndex& parent = {}) const override { return parent.isValid() ? 0 : 2; }
  QVariant data(const QModelIndex& index, int role) const override;

  void setScore(const QString& name, bool isAscending);
  const std::string& score() const { return score_; }
  bool isAscending() const { return isAscending_; }
  void setQuery(HeadQuery query);
  const HeadQuery& query() const { return query_; }
  void rebuild();
  /// -1 when it is filtered out.
  int rowOf(core::HeadRef head) const;
  core::HeadRef headAt(int row) const { return rows_[static_cast<size_t>(row)]; }

 private:
  double value(core::HeadRef head) const;
  AppState& state_;
  std::string score_;  // "": by index
  bool isAscending_ = false;
  HeadQuery query_;
  std::vector<core::HeadRef> rows_;
};

/// Paints "1.5 | bar | 0.36".
class HeadDelegate : public QStyledItemDelegate {
  Q_OBJECT
 public:
  HeadDelegate(AppState& state, QObject* parent) : QStyledItemDelegate(parent), state_(state) {}
  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;

 private:
  AppState& state_;
};

/// Leaves the arrow keys to the window: they move the selected head on its grid.
class HeadTableView : public QTableView {
  Q_OBJECT
 public:
  using QTableView::QTableView;

 protected:
  void keyPressEvent(QKeyEvent* event) override;
};

class HeadPanel : public QWidget {
  Q_OBJECT
 public:
  explicit HeadPanel(AppState& state, QWidget* parent = nullptr);
  QTableView* table() { return table_; }
  QLineEdit* filter() { return filter_; }
  HeadTableModel* model() { return model_; }
  void setScore(const QString& name);

 private:
  void fillMenu();
  void show(const std::string& score, bool isAscending);
  void sortByWhatTells();
  void followSelection();
  void applyFilter(const QString& text);
  void applyTheme();

  AppState& state_;
  HeadTableModel* model_;
  QTableView* table_;
  QLabel* title_;
  QToolButton* scoreButton_;
  QLineEdit* filter_;
  std::optional<std::string> wanted_;  // by a person; a model that lacks it is sorted by what it has until one has it
  bool isWantedAscending_ = false;
  std::shared_ptr<const core::Model> chosenFor_;  // without a wish: chosen once a model, not again as one types
};

}  // namespace headscope::app
