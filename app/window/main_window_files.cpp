// Opening and exporting: what a dropped or chosen path is, and saving a pane's picture.
#include <QFileInfo>
#include <QPainter>
#include <QPointer>
#include <algorithm>
#include <optional>

#include "app/render.h"
#include "app/scenario_file.h"
#include "app/sinks/figure_file.h"
#include "app/sinks/figure_session.h"
#include "app/sinks/painter_sink.h"
#include "app/window/export_dialog.h"
#include "app/window/lesson_bar.h"
#include "app/window/main_window.h"
#include "app/window/theme_style.h"
#include "core/base/error.h"
#include "core/session/folder_hash.h"

namespace headscope::app {
namespace {

struct Preview {
  QImage picture;
  double height_mm = 0;
};

/// The figure as it will be written, small; runs in a job.
Preview drawPreview(const views::View& view, views::ViewInput input, const ExportRequest& request, QSize room, core::Job& job) {
  if (!request.isPanel) input.selection.brushed.clear();
  const views::Figure figure = paperFigure(view, input, request.layout, request.isDark, job);
  job.checkpoint();
  const double scale = std::min(room.width() / std::max(1.0, figure.size.width), room.height() / std::max(1.0, figure.size.height));
  QImage picture(std::max(1, static_cast<int>(figure.size.width * scale)), std::max(1, static_cast<int>(figure.size.height * scale)),
                 QImage::Format_ARGB32_Premultiplied);
  picture.setDotsPerMeterX(2835), picture.setDotsPerMeterY(2835);  // 72 an inch: a point is a logical pixel
  picture.fill(toQt(figure.background));
  QPainter painter(&picture);
  painter.scale(scale, scale);
  paintFigure(painter, figure, std::max(0.25, 0.5 / scale), scale);
  return {picture, figure.size.height * 25.4 / 72};
}

/// Computes, draws and writes; runs in a job.
void writeExport(const views::View& view, views::ViewInput input, core::Session session, const ExportRequest& request, core::Job& job) {
  const std::string path = request.path.toStdString();
  if (!request.isPanel) input.selection.brushed.clear();
  if (QFileInfo(request.path).suffix().toLower() == QLatin1String("csv")) {
    writeCsv(path, view.table(input, job));
    return;
  }
  session.modelHash = core::folderHash(input.model->folder());
  session.selection = input.selection;
  session.figure = request.layout;
  session.theme = request.isDark ? "dark" : "light";
  const views::Figure figure = paperFigure(view, input, request.layout, request.isDark, job);
  job.checkpoint();
  writeFigure(path, figure, session, {request.dotsPerInch / 72});
  if (request.hasCaption) writeCaption(path, figure, session);
}

/// "attention_map_1.5"
QString fileNameFor(const views::View& view, const views::ViewInput& input) {
  const auto name = view.name();
  QString stem = QString::fromUtf8(name.data(), static_cast<qsizetype>(name.size())), subject;
  for (const QChar c : QString::fromStdString(view.subject(input)).left(40)) {
    if (!c.isLetterOrNumber() && c != '.') break;
    subject += c;
  }
  return subject.isEmpty() ? stem : stem + '_' + subject;
}

}  // namespace

void MainWindow::openPath(const QString& path) {
  const QFileInfo info(path);
  if (!info.exists()) {
    state_->report(core::Error("there is no such file or folder", path.toStdString()));
  } else if (!info.isDir()) {
    openFile(path);
  } else if (QFileInfo::exists(path + "/adapter_config.json") && !QFileInfo::exists(path + "/config.json")) {
    if (!state_->opened().model) {
      state_->report(core::Error("this is an adapter, and no model is open for it", path.toStdString(), "open its base model first"));
      return;
    }
    state_->openAdapter(path);
    remember(path);
  } else {
    state_->openModel(path);
    remember(path);
  }
}

void MainWindow::openFile(const QString& path) {
  static constexpr const char* kPictures[] = {"png", "jpg", "jpeg", "bmp", "gif", "webp", "ppm", "pgm", "tif", "tiff"};
  const QString suffix = QFileInfo(path).suffix().toLower();
  const bool isPicture = std::any_of(std::begin(kPictures), std::end(kPictures), [&](const char* s) { return suffix == QLatin1String(s); });
  if (!isPicture) {
    openSession(path);
    return;
  }
  state_->jobs().submit(
      "session", "Looking into the picture",
      [this, path](core::Job&) -> JobRunner::Delivery {
        std::optional<core::Session> session;
        try {
          session = sessionFromFile(path.toStdString());
        } catch (const core::Error&) {
          // A picture like any other: whether it can be read is said when it is run.
        }
        return [this, path, session] {
          remember(path);
          if (session) {
            state_->applySession(*session);
          } else {
            state_->setImage(path);
          }
        };
      },
      [this](const core::Error& e) { state_->report(e); });
}

void MainWindow::openSession(const QString& path) {
  state_->jobs().submit(
      "session", "Reading the session",
      [this, path](core::Job&) -> JobRunner::Delivery {
        if (isScenarioFile(path.toStdString())) {
          return [this, path, scenario = readScenario(path.toStdString())] {
            remember(path);
            lesson_->start(scenario);
          };
        }
        const core::Session session = sessionFromFile(path.toStdString());
        return [this, path, session] {
          remember(path);
          state_->applySession(session);
        };
      },
      [this](const core::Error& e) { state_->report(e); });
}

void MainWindow::exportPane(int pane) {
  const views::View* view = views::findView(state_->pane(pane).view);
  const views::ViewInput input = state_->viewInput(pane);
  if (!view || !input.model) {
    state_->say(tr("There is nothing to export yet"));
    return;
  }
  const QString name = fileNameFor(*view, input);
  const int heads = view->isPerHead(input) ? static_cast<int>(input.selection.brushed.size()) : 0;
  // After the frame that asked: a dialog must not run inside it.
  QTimer::singleShot(0, this, [this, pane, name, heads] {
    ExportDialog dialog(name, heads, settings_, state_->theme(), this);
    connect(&dialog, &ExportDialog::previewWanted, this,
            [this, pane, &dialog](const ExportRequest& request, QSize room) { previewExport(pane, request, room, dialog); });
    const bool isWanted = dialog.exec() == QDialog::Accepted;
    state_->jobs().cancel("preview");
    if (isWanted) exportTo(pane, dialog.request());
  });
}

void MainWindow::previewExport(int pane, const ExportRequest& request, QSize room, ExportDialog& dialog) {
  const views::View* view = views::findView(state_->pane(pane).view);
  if (!view) return;
  const QPointer<ExportDialog> shown = &dialog;
  state_->jobs().submit(
      "preview", "Picture for the export",
      [view, request, room, shown, input = state_->viewInput(pane)](core::Job& job) -> JobRunner::Delivery {
        const Preview preview = drawPreview(*view, input, request, room, job);
        return [shown, preview] {
          if (shown) shown->showPreview(preview.picture, preview.height_mm);
        };
      },
      [shown](const core::Error& e) {
        if (shown) shown->showMessage(describe(e));
      });
}

void MainWindow::exportTo(int pane, const ExportRequest& request) {
  const views::View* view = views::findView(state_->pane(pane).view);
  if (!view) return;
  core::Session session = state_->session();
  session.panes = {state_->pane(pane)};
  state_->jobs().submit(
      "export", "Exporting " + request.path.toStdString(),
      [this, view, request, session, input = state_->viewInput(pane)](core::Job& job) -> JobRunner::Delivery {
        writeExport(*view, input, session, request, job);
        return [this, request] { state_->say(tr("Saved %1").arg(request.path)); };
      },
      [this](const core::Error& e) { state_->report(e); });
}

}  // namespace headscope::app
