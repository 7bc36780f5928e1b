#pragma once
// JobRunner: long computations beside the window. Work is submitted to a lane; in each lane the newest request wins: it cancels
// what runs there and replaces what waits. Results and errors come back on the window's thread, and only of the newest request.
// A cancelled job's result is dropped without a word. Destruction cancels everything and waits for the workers.
#include <QObject>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/job.h"

namespace headscope::app {

class JobRunner : public QObject {
  Q_OBJECT
 public:
  using Delivery = std::function<void()>;                   // runs on the window's thread
  using Work = std::function<Delivery(core::Job&)>;         // runs on a worker; may throw
  using Failure = std::function<void(const core::Error&)>;  // runs on the window's thread

  explicit JobRunner(int workers = 3, QObject* parent = nullptr);
  ~JobRunner() override;

  /// title: what is being done, for people ("Forward pass"). Call on the window's thread.
  std::shared_ptr<core::Job> submit(const std::string& lane, const std::string& title, Work work, Failure failed);
  void cancel(const std::string& lane);
  void cancelAll();
  /// Waiting and running, oldest first.
  std::vector<std::shared_ptr<core::Job>> active() const;
  bool isActive(const std::string& lane) const { return find(lane) != nullptr; }
  /// The lane's waiting or running job; null when there is none.
  std::shared_ptr<core::Job> find(const std::string& lane) const;
  /// Lanes in which something waits or runs, with its title.
  std::map<std::string, std::string> lanes() const;
  bool isIdle() const { return active().empty(); }

 Q_SIGNALS:
  void changed();  // something began or ended
  void submitted(const std::string& lane);

 private:
  struct Task {
    std::string lane;
    std::shared_ptr<core::Job> job;
    Work work;
    Failure failed;
  };
  void runWorker();
  void finish(const Task& task, Delivery delivery, std::shared_ptr<core::Error> error);

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> waiting_;
  std::map<std::string, std::shared_ptr<core::Job>> newest_;  // by lane, until it has come back
  bool isStopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace headscope::app
