\set user random(1, :users)
select storm('user' || :user || '@example.org');
