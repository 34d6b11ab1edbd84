// The process in which the model runs, as the checks see it: this one, or one that is kept apart. Checks reach all that
// is not plain arithmetic through it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mtt/model/archive.hpp"
#include "mtt/model/model.hpp"
#include "mtt/model/operators.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

/// The model threw something that is no std::exception.
struct StrangeException {};

/// Bytes of the process that runs the model.
struct MemoryUse {
    /// Given out by malloc and not got back; does not depend on what the allocator keeps for later.
    uint64_t allocated = 0;
    uint64_t resident = 0;
    /// Largest resident memory since the last reset.
    uint64_t peak = 0;
};

/// What one of two instances gave that were called at the same time.
struct SideBySide {
    /// Each call once, then each once more, and so on.
    std::vector<Answer> answers;
    /// What stopped it; empty if nothing did.
    std::string problem;
};

class Host {
public:
    virtual ~Host() = default;
    /// The model file; null in tests whose model is a function.
    virtual std::shared_ptr<const ArchiveView> archive() = 0;
    /// What the file would call that is not on the list of what models may; read before anything of it is loaded.
    virtual std::vector<Foreign> foreign() = 0;
    /// A new instance, as an engine that starts up makes it.
    /// @throws std::exception whatever the model throws
    virtual std::unique_ptr<Model> load() = 0;
    /// What else is in the process: settings that the model shares with it, in words.
    virtual std::map<std::string, std::string> state() = 0;
    virtual MemoryUse memory() = 0;
    virtual void reset_peak_memory() = 0;
    /// In force until the returned object goes away.
    virtual std::shared_ptr<void> with_executor(const Executor& executor) = 0;
    virtual int threads() = 0;
    virtual void set_threads(int threads) = 0;
    virtual bool has_cuda() = 0;
    /// Two threads, each of which makes all calls `rounds` times.
    virtual std::array<SideBySide, 2> side_by_side(const std::array<Model*, 2>& models, const std::vector<Call>& calls,
                                                   int rounds) = 0;
    /// Calls of models so far.
    virtual uint64_t calls() = 0;
};

/// This process.
class LocalHost final : public Host {
public:
    using Loader = std::function<std::unique_ptr<Model>()>;

    LocalHost(Loader loader, std::shared_ptr<const ArchiveView> archive, std::vector<Foreign> foreign = {}):
        loader_(std::move(loader)), archive_(std::move(archive)), foreign_(std::move(foreign)) {}

    std::shared_ptr<const ArchiveView> archive() override { return archive_; }
    std::vector<Foreign> foreign() override { return foreign_; }
    std::unique_ptr<Model> load() override { return loader_(); }
    std::map<std::string, std::string> state() override;
    MemoryUse memory() override;
    void reset_peak_memory() override;
    std::shared_ptr<void> with_executor(const Executor& executor) override;
    int threads() override;
    void set_threads(int threads) override;
    bool has_cuda() override;
    std::array<SideBySide, 2> side_by_side(const std::array<Model*, 2>& models, const std::vector<Call>& calls,
                                           int rounds) override;
    uint64_t calls() override;

private:
    Loader loader_;
    std::shared_ptr<const ArchiveView> archive_;
    std::vector<Foreign> foreign_;
};

}  // namespace mtt
