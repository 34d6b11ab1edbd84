#include "mtt/model/host.hpp"

#include <thread>

#include "mtt/isolation/machine.hpp"

namespace mtt {

namespace {

/// Calls from one thread, which has libtorch's settings to itself.
SideBySide call_often(Model& model, const std::vector<Call>& calls, int rounds) {
    const auto session = prepare_thread();
    SideBySide out;
    try {
        for (int round = 0; round < rounds; ++round) {
            for (const auto& call : calls) {
                out.answers.push_back(model.evaluate(call));
            }
        }
    } catch (const std::exception& error) {
        out.problem = explain(error);
    } catch (...) {
        out.problem = "something that is no std::exception";
    }
    return out;
}

}  // namespace

std::map<std::string, std::string> LocalHost::state() { return shared_state(); }

MemoryUse LocalHost::memory() { return {allocated_bytes(), resident_bytes(), peak_resident_bytes()}; }

void LocalHost::reset_peak_memory() { reset_peak_resident_bytes(); }

std::shared_ptr<void> LocalHost::with_executor(const Executor& executor) { return mtt::with_executor(executor); }

int LocalHost::threads() { return torch_threads(); }

void LocalHost::set_threads(int threads) { set_torch_threads(threads); }

bool LocalHost::has_cuda() { return cuda_available(); }

std::array<SideBySide, 2> LocalHost::side_by_side(
    const std::array<Model*, 2>& models, const std::vector<Call>& calls, int rounds
) {
    std::array<SideBySide, 2> out;
    std::thread other([&] { out[1] = call_often(*models[1], calls, rounds); });
    out[0] = call_often(*models[0], calls, rounds);
    other.join();
    return out;
}

uint64_t LocalHost::calls() { return call_count(); }

}  // namespace mtt
