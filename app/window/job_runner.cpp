#include "app/window/job_runner.h"

#include <QMetaObject>
#include <algorithm>
#include <new>

#include "core/base/mapped_file.h"

namespace headscope::app {

JobRunner::JobRunner(int workers, QObject* parent) : QObject(parent) {
  for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { runWorker(); });
}

JobRunner::~JobRunner() {
  blockSignals(true);
  cancelAll();
  {
    const std::lock_guard lock(mutex_);
    isStopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

std::shared_ptr<core::Job> JobRunner::submit(const std::string& lane, const std::string& title, Work work, Failure failed) {
  auto job = std::make_shared<core::Job>(title);
  {
    const std::lock_guard lock(mutex_);
    if (const auto old = newest_.find(lane); old != newest_.end()) old->second->cancel();
    std::erase_if(waiting_, [&](const Task& task) { return task.lane == lane; });
    newest_[lane] = job;
    waiting_.push_back({lane, job, std::move(work), std::move(failed)});
  }
  wake_.notify_one();
  Q_EMIT submitted(lane);
  Q_EMIT changed();
  return job;
}

void JobRunner::cancel(const std::string& lane) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = newest_.find(lane);
    if (found == newest_.end()) return;
    found->second->cancel();
    newest_.erase(found);
    std::erase_if(waiting_, [&](const Task& task) { return task.lane == lane; });
  }
  Q_EMIT changed();
}

void JobRunner::cancelAll() {
  {
    const std::lock_guard lock(mutex_);
    for (auto& [lane, job] : newest_) job->cancel();
    newest_.clear();
    waiting_.clear();
  }
  Q_EMIT changed();
}

std::vector<std::shared_ptr<core::Job>> JobRunner::active() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<core::Job>> jobs;
  for (const auto& [lane, job] : newest_) jobs.push_back(job);
  std::sort(jobs.begin(), jobs.end(), [](const auto& a, const auto& b) { return a->elapsedSeconds() > b->elapsedSeconds(); });
  return jobs;
}

std::shared_ptr<core::Job> JobRunner::find(const std::string& lane) const {
  const std::lock_guard lock(mutex_);
  const auto found = newest_.find(lane);
  return found == newest_.end() ? nullptr : found->second;
}

std::map<std::string, std::string> JobRunner::lanes() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> titles;
  for (const auto& [lane, job] : newest_) titles[lane] = job->title();
  return titles;
}

void JobRunner::runWorker() {
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return isStopping_ || !waiting_.empty(); });
      if (isStopping_) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Delivery delivery;
    std::shared_ptr<core::Error> error;
    try {
      const core::CutWatch cuts;
      task.job->checkpoint();
      delivery = task.work(*task.job);
      cuts.check();
    } catch (const core::Cancelled&) {
    } catch (const core::Error& e) {
      error = std::make_shared<core::Error>(e);
    } catch (const std::bad_alloc&) {
      error = std::make_shared<core::Error>("memory ran out", task.job->title(), "try a shorter prompt or a smaller model");
    } catch (const std::exception& e) {
      error = std::make_shared<core::Error>(e.what(), task.job->title());
    }
    task.work = nullptr;  // what it held goes on this thread
    QMetaObject::invokeMethod(
        this, [this, task, delivery, error] { finish(task, delivery, error); }, Qt::QueuedConnection);
  }
}

void JobRunner::finish(const Task& task, Delivery delivery, std::shared_ptr<core::Error> error) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = newest_.find(task.lane);
    if (found == newest_.end() || found->second != task.job) return;  // overtaken or cancelled
    newest_.erase(found);
  }
  if (error) {
    if (task.failed) task.failed(*error);
  } else if (delivery && !task.job->cancelled()) {
    delivery();
  }
  Q_EMIT changed();
}

}  // namespace headscope::app
