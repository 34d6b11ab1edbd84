// A worker that runs no model: it says and does what a test of the supervisor wants.
#pragma once

#include <string>

namespace testing {

inline constexpr const char* fake_worker_flag = "--fake-worker";

/// Body of the process; `deed` is one of those in fake_worker.cpp.
int fake_worker(const std::string& deed);

}  // namespace testing
