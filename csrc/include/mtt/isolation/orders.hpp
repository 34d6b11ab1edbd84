// What the supervisor tells the process of the model at its start, and what it may ask of it afterwards.
//
// The supervisor asks one thing after the other and waits for each answer. A question is a frame of a number that nobody
// can guess, the kind of the question and its arguments; the answer repeats the number, then says how it went. Nothing
// but facts and numbers comes back: whatever runs in that process, it passes no judgment.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mtt/isolation/packing.hpp"
#include "mtt/model/host.hpp"
#include "mtt/model/predictor.hpp"
#include "mtt/report.hpp"

namespace mtt {

struct Orders {
    std::string path;
    std::optional<std::string> extensions;
    /// Operators beside those on the list.
    std::vector<std::string> allowed;
    /// Units of a model that declares none.
    AssumedUnits units;
    int threads = 0;
    uint64_t memory_limit = 0;
    uint64_t cpu_seconds = 0;
    /// Means of protection not to use.
    std::vector<std::string> without;
};

std::string to_text(const Orders& orders);
/// @throws PackingError
Orders orders_from_text(std::string text);

enum class Question : uint32_t {
    isolation,       ///< -> Isolation
    file,            ///< -> FileFacts; before anything is loaded
    damaged,         ///< -> names of records
    load,            ///< -> Instance
    unload,          ///< instance
    evaluate,        ///< instance, Call -> Answer
    ask_for,         ///< instance, output -> Instance
    training_mode,   ///< instance -> names of modules
    warnings,        ///< instance -> texts
    widened,         ///< instance -> optional Instance
    disturb,         ///< instance, seed
    move_again,      ///< instance
    on_device,       ///< instance, device -> optional Instance
    left_on_cpu,     ///< instance -> names of attributes
    state,           ///< -> settings by name
    memory,          ///< -> allocated, resident, peak
    reset_peak,      ///<
    push_executor,   ///< Executor
    pop_executor,    ///<
    threads,         ///< -> number
    set_threads,     ///< number
    has_cuda,        ///< -> yes or no
    side_by_side,    ///< two instances, calls, rounds -> two times answers and problem
    open_predictor,  ///< whether widened -> Capabilities
    predict,         ///< systems, outputs -> predictions
    end              ///< the process ends by itself
};

/// How an answer begins, after the number of its question.
enum class Outcome : uint32_t {
    fine,
    engine_error,   ///< and a text
    no_memory,      ///< and a text
    error,          ///< and a text
    strange         ///< it threw something that is no std::exception
};

/// Contents of records that checks read, taken before any code of the model runs.
struct FileFacts {
    uint32_t kind = 0;
    uint64_t bytes = 0;
    std::vector<std::string> records;
    std::map<std::string, std::string> contents;
    /// What is not on the list of what models may use.
    std::vector<Foreign> foreign;
    /// Records that could not be read, and why.
    std::map<std::string, std::string> problems;
};

/// One loaded model.
struct Instance {
    uint64_t id = 0;
    Capabilities capabilities;
    std::vector<NeighborRequest> requests;
};

template <class P>
void describe(P& pack, AssumedUnits& v) {
    pack(v.length, v.energy);
}
template <class P>
void describe(P& pack, Orders& v) {
    pack(v.path, v.extensions, v.allowed, v.units, v.threads, v.memory_limit, v.cpu_seconds, v.without);
}
template <class P>
void describe(P& pack, FileFacts& v) {
    pack(v.kind, v.bytes, v.records, v.contents, v.foreign, v.problems);
}
template <class P>
void describe(P& pack, Foreign& v) {
    pack(v.name, v.record, v.line, v.why);
}
template <class P>
void describe(P& pack, Instance& v) {
    pack(v.id, v.capabilities, v.requests);
}
template <class P>
void describe(P& pack, Isolation& v) {
    pack(v.process, v.protects, v.time_limit, v.memory_limit, v.network, v.filesystem, v.notes);
}
template <class P>
void describe(P& pack, OutputInfo& v) {
    pack(v.name, v.unit, v.sample_kind, v.description);
}
template <class P>
void describe(P& pack, Capabilities& v) {
    pack(v.name, v.atomic_types, v.interaction_range, v.length_unit, v.dtype, v.devices, v.outputs, v.requested_inputs,
         v.timestep, v.energy_output, v.energy_unit, v.energy_kind, v.angstrom, v.electronvolt,
         v.length_unit_assumed, v.energy_unit_assumed);
}
template <class P>
void describe(P& pack, NeighborRequest& v) {
    pack(v.cutoff, v.full, v.strict);
}
template <class P>
void describe(P& pack, System& v) {
    pack(v.name, v.types, v.positions, v.cell, v.pbc, v.charge, v.spin_multiplicity);
}
template <class P>
void describe(P& pack, Pair& v) {
    pack(v.first, v.second, v.shift, v.vector);
}
template <class P>
void describe(P& pack, Call& v) {
    pack(v.systems, v.pairs, v.select, v.selected, v.kind, v.gradients, v.strain, v.check_consistency,
         v.leaf_in_model_dtype, v.strided, v.dtype, v.extra, v.length_unit, v.energy_unit, v.withheld,
         v.velocities);
}
template <class P>
void describe(P& pack, Block& v) {
    pack(v.values, v.shape, v.sample_names, v.samples);
}
template <class P>
void describe(P& pack, BlockLayout& v) {
    pack(v.key, v.components, v.labels, v.properties);
}
template <class P>
void describe(P& pack, Answer& v) {
    pack(v.values, v.shape, v.layout, v.dtype, v.blocks, v.sample_names, v.samples, v.property_names, v.explicit_gradients,
         v.key_names, v.forces, v.virials, v.changed_inputs, v.extra, v.random_numbers_used, v.float_exceptions);
}
template <class P>
void describe(P& pack, SideBySide& v) {
    pack(v.answers, v.problem);
}
template <class P>
void describe(P& pack, MemoryUse& v) {
    pack(v.allocated, v.resident, v.peak);
}
template <class P>
void describe(P& pack, Wanted& v) {
    pack(v.name, v.per_atom, v.gradients);
}
template <class P>
void describe(P& pack, Prediction& v) {
    pack(v.columns, v.rows, v.forces, v.strain);
}
template <class P>
void describe(P& pack, Executor& v) {
    pack(v.profiling, v.optimize, v.deterministic);
}

}  // namespace mtt
