// Comparisons that remember the worst case, so that a result can say where it happened.
#pragma once

#include <string>
#include <vector>

#include "mtt/physics/system.hpp"
#include "mtt/physics/tolerances.hpp"

namespace mtt {

class Comparison {
public:
    /// The system that what is added from here on is about.
    void in(const System& system);
    /// What follows is about none that has a name.
    void in_general() { part_ = parts_.size(); }
    /// Takes |measured| against its tolerance; NaN counts as infinitely wrong. What is missing is infinite, as NaN is for
    /// numbers of the model.
    void add(double measured, double tolerance, const std::string& where);
    void energies(double a, double b, const Budget& budget, const std::string& where);
    void atomic_energies(
        const std::vector<double>& a, const std::vector<double>& b, const Budget& budget, const std::string& where
    );
    void forces(
        const std::vector<Vec3>& a, const std::vector<Vec3>& b, const Budget& budget, const std::string& where
    );
    void virials(const Mat3& a, const Mat3& b, const Budget& budget, const std::string& where);
    /// Energy, forces and virial at once. The virial is left out when `strain` is false.
    void properties(
        const Properties& a, const Properties& b, const Budget& budget, const std::string& where, bool strain = true
    );

    /// Nothing could be measured in the system that in() named.
    void fails(const std::string& error, const std::string& details);

    [[nodiscard]] bool empty() const { return count_ == 0; }
    [[nodiscard]] bool passed() const { return ratio_ <= 1.0; }
    [[nodiscard]] double ratio() const { return ratio_; }
    [[nodiscard]] double measured() const { return measured_; }
    [[nodiscard]] double tolerance() const { return tolerance_; }
    [[nodiscard]] const std::string& where() const { return where_; }
    /// Whether what was added was no number.
    [[nodiscard]] bool not_finite() const { return not_finite_; }
    /// Of the first system that could not be measured; empty if all could.
    [[nodiscard]] const std::string& error() const { return error_; }
    [[nodiscard]] const std::string& details() const { return details_; }
    /// Names of the systems in which something failed, if they were named and others passed.
    [[nodiscard]] std::vector<std::string> failing() const;
    /// Kinds of the systems in which something failed, as kind_of() names them; empty if not all of them were named.
    [[nodiscard]] std::vector<std::string> failing_kinds() const;
    /// Whether there are named systems in which nothing failed, and nothing failed outside of named ones.
    [[nodiscard]] bool others_pass() const;
    /// What those have in common and the others have not, in a few words: "slabs (pbc TTF)". Empty if nothing.
    [[nodiscard]] std::string circumstances() const;

private:
    struct Part {
        std::string name;
        std::string kind;
        bool failed = false;
    };
    std::vector<Part> parts_;
    /// Of parts_, or its size if no system is named.
    size_t part_ = 0;
    bool unnamed_failure_ = false;
    bool not_finite_ = false;
    std::string error_;
    std::string details_;
    size_t count_ = 0;
    double ratio_ = -1.0;
    double measured_ = 0.0;
    double tolerance_ = 0.0;
    std::string where_;
};

/// Short text for a number: 3 significant digits.
std::string short_number(double value);

}  // namespace mtt
