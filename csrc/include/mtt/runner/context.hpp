// What a check may use: the file, the model, fresh instances of it, golden pack and systems.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mtt/model/golden.hpp"
#include "mtt/model/host.hpp"
#include "mtt/model/model.hpp"
#include "mtt/model/target.hpp"
#include "mtt/runner/check.hpp"

namespace mtt {

/// What the caller of the program asked for, as far as checks need to know.
struct Mode {
    Level level = Level::full;
    /// Variant of the energy to check; empty: all.
    std::string variant = {};
    /// Units of a model that declares none.
    std::string length_unit = {};
    std::string energy_unit = {};
    /// Reference file to compare with (`--against`), and whether one is being recorded (`--record`).
    std::optional<std::string> against;
    bool record = false;
    /// Largest change of energy (meV per atom) and forces (meV/angstrom) under rotation; empty: report only.
    std::optional<double> max_rotation_error;
    /// Of the noise on the check systems and the order in which they come; 0: none.
    uint64_t seed = 0;
};

/// What calls show of a target without gradients.
struct ValueFacts {
    /// Of the blocks that a row is made of.
    std::vector<std::string> key_names;
    std::vector<BlockLayout> blocks;
    /// In each row.
    size_t numbers = 0;
    /// Check systems that it has finite values for.
    std::vector<System> systems;
    /// Those that it has not, and why.
    std::vector<std::pair<std::string, std::string>> problems;
    /// The first of `problems` is what an exception said.
    bool throws = false;
    /// Spread of the values of one atomic type, and the rounding of the largest value.
    double scale = 0.0;
    double rounding = 0.0;
};

class Context {
public:
    explicit Context(std::shared_ptr<Host> host, std::optional<std::string> extensions = {}):
        host_(std::move(host)), extensions_(std::move(extensions)) {}

    /// What the model predicts: the targets of the golden pack that it has an output for, energies by their name, then
    /// all other outputs. The energy that engines pick comes first. Empty for a model without outputs.
    const std::vector<Target>& targets();
    /// Whether one of them is an energy with gradients.
    bool has_energy();
    /// Outputs that are none of the targets, and why.
    const std::vector<std::pair<std::string, std::string>>& left_out() {
        targets();
        return left_out_;
    }
    /// Of the target in use: empty until a check has filled it.
    ValueFacts& value_facts() { return value_facts_[target().name]; }
    /// Makes every instance, those that are there and those to come, give this target as its energy.
    void use(const Target& target);
    /// The one in use.
    /// @throws EngineError if the model has no outputs
    const Target& target();

    /// Where the model runs.
    Host& host() { return *host_; }
    /// Drops the instances that are there, of which the process has ended.
    void forget_instances();
    /// Whether a shared instance is there, without making one.
    [[nodiscard]] bool has_model() const { return model_ != nullptr; }
    /// The shared instance, loaded on first use.
    Model& model();
    /// An instance that has made no call yet.
    std::unique_ptr<Model> fresh();
    /// While the returned object is there, TorchScript runs the code of the model as it is written. For instances that
    /// make a call or two, of which only the numbers or what they share count: to compile each of them takes most of its
    /// time, and whether compiled code gives the same is for the checks of later calls and of executors to say.
    [[nodiscard]] std::shared_ptr<void> without_compiling() {
        return host_->with_executor({.profiling = true, .optimize = false, .deterministic = false});
    }
    /// The model with its numbers in float64, if that gives the same within float32 rounding; otherwise model().
    Model& precise();
    /// Settings of the process before any code of the model was loaded.
    const std::map<std::string, std::string>& state_before_loading() {
        model();
        return state_before_;
    }
    const Capabilities& capabilities() { return model().capabilities(); }
    void set_mode(Mode mode) { mode_ = std::move(mode); }
    [[nodiscard]] const Mode& mode() const { return mode_; }
    [[nodiscard]] Level level() const { return mode_.level; }
    /// Text of the file that `--record` writes; the program writes it, since checks may write no files.
    void set_recorded(std::string text) { recorded_ = std::move(text); }
    [[nodiscard]] const std::optional<std::string>& recorded() const { return recorded_; }
    /// How far the energy of an atom really depends on others, for the report.
    void set_receptive_field(double radius) { receptive_field_ = radius; }
    [[nodiscard]] const std::optional<double>& receptive_field() const { return receptive_field_; }
    /// Null in tests that have no file.
    [[nodiscard]] const ArchiveView* archive() const { return host_->archive().get(); }
    [[nodiscard]] const std::optional<std::string>& extensions() const { return extensions_; }
    /// Operators that the caller vouches for.
    void allow_operators(std::vector<std::string> names) { allowed_operators_ = std::move(names); }
    [[nodiscard]] const std::vector<std::string>& allowed_operators() const { return allowed_operators_; }

    /// Null if the file has none (then golden_error() may say why).
    const GoldenPack* golden();
    const std::string& golden_error();
    /// What the golden pack says of the target in use; null if nothing.
    const GoldenTarget* golden_target();
    void set_golden(GoldenPack pack) {
        golden_ = std::move(pack);
        golden_read_ = true;
    }

    /// Varied systems of moderate size in the units of the model: from the golden pack, completed by generated ones.
    const std::vector<System>& systems();
    /// A tilted cell smaller than the cutoff, with few pairs: what must be called often is called with this one.
    const System& small_cell();
    /// What the shared instance gives for a system as `evaluate()` asks, in one call for each system and target: what
    /// checks compare later calls with.
    const Properties& reference(const System& system);
    /// What a call takes time for: pairs of all lists together.
    size_t pairs_of(const System& system);
    /// 0 to n - 1 in the order that this run draws: no model can know what it is asked next.
    std::vector<size_t> drawn_order(size_t n);
    /// Types to generate systems from: those of the golden pack, otherwise some of the declared ones.
    std::vector<int32_t> types();
    /// Largest cutoff of the requested neighbor lists; 0 if there are none.
    double cutoff();
    /// Distance between neighbors in generated systems.
    double spacing();
    /// The same for crystals where each atom shall have few neighbors: a call takes time for each pair.
    double sparse_spacing();
    /// The same for long systems: some steps are just within the cutoff, so that few atoms hand on what they know far.
    double stride();
    /// Atoms per volume at which an atom has this many neighbors within the cutoff.
    double densest(double neighbors);
    /// Factor from the length unit of the golden pack to that of the model.
    double golden_length_factor();

private:
    void read_golden();
    void add_target(const Target& target);
    void add_other_outputs();
    [[nodiscard]] bool of_wanted_variant(const std::string& output) const;
    bool is_precise();
    void complete_systems();

    std::shared_ptr<Host> host_;
    Mode mode_;
    std::optional<std::string> recorded_;
    std::optional<double> receptive_field_;
    std::optional<std::string> extensions_;
    std::vector<std::string> allowed_operators_;
    std::map<std::string, std::string> state_before_;
    std::vector<Target> targets_;
    std::vector<std::pair<std::string, std::string>> left_out_;
    std::map<std::string, ValueFacts> value_facts_;
    std::optional<Target> target_;
    std::unique_ptr<Model> model_;
    std::unique_ptr<Model> precise_;
    /// By output: whether precise_ gives what the model gives.
    std::map<std::string, bool> precise_fits_;
    bool golden_read_ = false;
    std::optional<GoldenPack> golden_;
    std::string golden_error_;
    std::vector<System> systems_;
    std::optional<System> small_cell_;
    struct Known {
        std::string output;
        System system;
        Properties properties;
    };
    std::vector<std::unique_ptr<Known>> known_;
};

}  // namespace mtt
